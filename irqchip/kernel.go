package irqchip

import (
	"errors"

	"doorbell/internal/kvm"
	"doorbell/internal/ledger"
	"doorbell/vcpu"

	"golang.org/x/sys/unix"
)

// Kernel is KVM's own PIC pair, IOAPIC, PIT and local APICs.
//
// KVM starts with the routes that a PC has: GSI 0 to 15 to the PICs and the IOAPIC, 16 to 23 to the IOAPIC alone. Message
// vectors take GSIs from 24 on; see messages.
type Kernel struct {
	messages
	vm     *kvm.VM
	caps   *kvm.Capabilities
	levels [ioapicPins]kernelPin
	close  []func() error
}

// newKernel creates the controllers; before the machine's first vCPU.
func newKernel(c Config) (*Kernel, error) {
	for _, cap := range []int{kvm.CapIRQChip, kvm.CapIRQFD} {
		if err := c.Caps.Require(cap); err != nil {
			return nil, err
		}
	}
	if c.VCPUs > maxXAPICID {
		if err := wideIDs(c, 0); err != nil {
			return nil, err
		}
	}
	if err := c.VM.CreateIRQChip(); err != nil {
		if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EINVAL) {
			return nil, &kvm.NotSupportedError{Feature: "the in-kernel irqchip", Reason: "the kernel was built without CONFIG_KVM_IOAPIC (" + err.Error() + ")"}
		}
		return nil, err
	}
	if c.Caps.Value(kvm.CapPIT2) > 0 {
		if err := c.VM.CreatePIT(); err != nil {
			return nil, err
		}
	}
	return &Kernel{vm: c.VM, caps: c.Caps, messages: newMessages(c.VM, pcRoutes(), c.Caps.Value(kvm.CapIRQRouting))}, nil
}

// maxXAPICID is the number of vCPUs whose ids fit xAPIC's 8 bits, 255 being the broadcast.
const maxXAPICID = 255

// wideIDs lets KVM's local APICs have IDs of 32 bits; flags are further ones of KVM_CAP_X2APIC_API.
func wideIDs(c Config, flags uint64) error {
	if err := c.Caps.Require(kvm.CapX2APICAPI); err != nil {
		return err
	}
	return c.VM.EnableCap(kvm.CapX2APICAPI, kvm.X2APICUse32BitIDs|kvm.X2APICDisableBroadcastQuirk|flags)
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

// Name implements Chip.
func (k *Kernel) Name() string { return KernelName }

// Registers implements Chip: KVM answers for all of them.
func (k *Kernel) Registers() []Registers { return nil }

// VCPU implements Chip: everything is inside KVM.
func (k *Kernel) VCPU(int) vcpu.Controller { return nil }

// NewLine implements Chip. The line's eventfd is bound by irqfd; KVM injects pin-routed ones from a workqueue.
func (k *Kernel) NewLine(gsi uint32, count *ledger.Line) (Line, error) {
	if gsi >= ioapicPins {
		return nil, pinError(gsi)
	}
	fd, err := newEventFD()
	if err != nil {
		return nil, err
	}
	if err := k.vm.IRQFD(gsi, fd); err != nil {
		unix.Close(fd)
		return nil, err
	}
	l := &eventLine{gsi: gsi, eventfd: fd, count: count, remove: func() error { return k.vm.RemoveIRQFD(gsi, fd) }}
	k.close = append(k.close, l.Close)
	return l, nil
}

// Close implements Chip.
func (k *Kernel) Close() error {
	var errs []error
	for _, c := range k.close {
		errs = append(errs, c())
	}
	k.close = nil
	return errors.Join(errs...)
}
