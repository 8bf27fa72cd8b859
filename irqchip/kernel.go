package irqchip

import (
	"errors"

	"doorbell/internal/kvm"
	"doorbell/internal/ledger"

	"golang.org/x/sys/unix"
)

// Kernel is KVM's own PIC pair, IOAPIC, PIT and local APICs.
//
// KVM starts with the routes that a PC has: GSI 0 to 15 to the PICs and the IOAPIC, 16 to 23 to the IOAPIC alone. Message
// vectors take GSIs from 24 on; see messages.
type Kernel struct {
	messages
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
	return &Kernel{vm: vm, messages: newMessages(vm, pcRoutes(), caps.Value(kvm.CapIRQRouting))}, nil
}

// pcRoutes are the routes that KVM_CREATE_IRQCHIP makes. Setting the table replaces them, so that they are part of every table.
func pcRoutes() []kvm.Route {
	var routes []kvm.Route
	for gsi := range uint32(ioapicPins) {
		routes = append(routes, kvm.Route{Chip: &kvm.ChipRoute{GSI: gsi, Chip: kvm.ChipIOAPIC, Pin: gsi}})
		switch {
		case gsi < 8:
			routes = append(routes, kvm.Route{Chip: &kvm.ChipRoute{GSI: gsi, Chip: kvm.ChipPICMaster, Pin: gsi}})
		case gsi < 16:
			routes = append(routes, kvm.Route{Chip: &kvm.ChipRoute{GSI: gsi, Chip: kvm.ChipPICSlave, Pin: gsi - 8}})
		}
	}
	return routes
}

// ioapicPins is the number of input pins of KVM's IOAPIC (KVM_IOAPIC_NUM_PINS); their GSIs are 0 and up.
const ioapicPins = 24

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
