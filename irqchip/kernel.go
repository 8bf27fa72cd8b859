package irqchip

import (
	"errors"

	"doorbell/internal/kvm"
	"doorbell/internal/ledger"

	"golang.org/x/sys/unix"
)

// Kernel is KVM's own PIC pair, IOAPIC, PIT and local APICs.
//
// KVM starts with the routes that a PC has: GSI 0 to 15 to the PICs and the IOAPIC, 16 to 23 to the IOAPIC alone.
type Kernel struct {
	vm    *kvm.VM
	lines []*Line
}

// NewKernel creates the controllers; before the machine's first vCPU.
func NewKernel(vm *kvm.VM, caps *kvm.Capabilities) (*Kernel, error) {
	for _, c := range []int{kvm.CapIRQChip, kvm.CapIRQFD} {
		if err := caps.Require(c); err != nil {
			return nil, err
		}
	}
	if err := vm.CreateIRQChip(); err != nil {
		if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EINVAL) {
			return nil, &kvm.NotSupportedError{Feature: "the in-kernel irqchip", Reason: "the kernel was built without CONFIG_KVM_IOAPIC (" + err.Error() + ")"}
		}
		return nil, err
	}
	if caps.Value(kvm.CapPIT2) > 0 {
		if err := vm.CreatePIT(); err != nil {
			return nil, err
		}
	}
	return &Kernel{vm: vm}, nil
}

// Name is the controller's name on the command line and in reports.
func (k *Kernel) Name() string { return "kernel" }

// NewLine gives a device a line to a GSI below 24, counted in count. Its eventfd is bound by irqfd; KVM injects pin-routed
// ones from a workqueue.
func (k *Kernel) NewLine(gsi uint32, count *ledger.Line) (*Line, error) {
	fd, err := newEventFD()
	if err != nil {
		return nil, err
	}
	if err := k.vm.IRQFD(gsi, fd); err != nil {
		unix.Close(fd)
		return nil, err
	}
	l := &Line{GSI: gsi, eventfd: fd, count: count, remove: func() error { return k.vm.RemoveIRQFD(gsi, fd) }}
	k.lines = append(k.lines, l)
	return l, nil
}

// Close takes every line off.
func (k *Kernel) Close() error {
	var errs []error
	for _, l := range k.lines {
		errs = append(errs, l.Close())
	}
	k.lines = nil
	return errors.Join(errs...)
}
