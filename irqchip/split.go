package irqchip

import (
	"sync"

	"doorbell/internal/kvm"
	"doorbell/internal/ledger"
	"doorbell/internal/pci"
	"doorbell/irqchip/ioapic"
	"doorbell/vcpu"
)

// Split is KVM's local APICs behind our own IOAPIC, PICs and PIT (KVM_CAP_SPLIT_IRQCHIP, Documentation/virt/kvm/api.rst).
//
// A wire's interrupt is a message that KVM_SIGNAL_MSI takes to the local APICs at once. For a level-triggered pin KVM has to know, besides, that
// we want to hear of the EOI: the pin has a route in its table, and an EOI of the route's vector at its destination is a KVM_EXIT_IOAPIC_EOI.
// The PICs' vector goes to the first vCPU by KVM_INTERRUPT.
type Split struct {
	messages
	southbridge
	vm    *kvm.VM
	vcpus []splitCPU
	// eoiExits counts KVM_EXIT_IOAPIC_EOI by pin: those of its vector, while it was level-triggered.
	eoiExits [ioapicPins]ledger.Shared
	refuse   sync.Once // one line of it is enough
	warn     func(format string, args ...any)
}

// Flags of KVM_CAP_X2APIC_API that the headers this was made from do not have (Linux 6.20): the local APIC offers to keep EOIs from the IOAPIC
// (SVR bit 12), and keeps its word.
const x2APICEnableSuppressEOIBroadcast = 1 << 2

// newSplit creates the controllers; before the machine's first vCPU.
func newSplit(c Config) (*Split, error) {
	for _, cap := range []int{kvm.CapSplitIRQChip, kvm.CapIRQFD, kvm.CapSignalMSI} {
		if err := c.Caps.Require(cap); err != nil {
			return nil, err
		}
	}
	if err := c.VM.EnableCap(kvm.CapSplitIRQChip, ioapicPins); err != nil {
		return nil, err
	}
	// A guest that suppresses the broadcast writes our IOAPIC's EOI register itself. Older kernels offer the suppression and broadcast all the same,
	// so that the IOAPIC may hear of an interrupt's end twice: the second finds nothing to end, or ends early what its handler sees again.
	suppress := uint64(c.Caps.Value(kvm.CapX2APICAPI)) & x2APICEnableSuppressEOIBroadcast
	if c.VCPUs > maxXAPICID {
		if err := wideIDs(c, suppress); err != nil {
			return nil, err
		}
	} else if suppress != 0 {
		if err := c.VM.EnableCap(kvm.CapX2APICAPI, suppress); err != nil {
			return nil, err
		}
	}
	s := &Split{vm: c.VM, warn: c.Warn, messages: newMessages(c.VM, nil, c.Caps.Value(kvm.CapIRQRouting)), vcpus: make([]splitCPU, c.VCPUs)}
	s.spare = ioapicPins
	for id := range s.vcpus {
		s.vcpus[id] = splitCPU{split: s, boot: id == 0, held: none}
	}
	if err := s.build(outlets{messages: signalMSI{c.VM}, intr: &s.vcpus[0], routeChanged: s.routeChanged, book: c.Ledger, activeLow: c.ActiveLow}); err != nil {
		_ = s.Close()
		return nil, err
	}
	s.alarms.start()
	return s, nil
}

// Name implements Chip.
func (s *Split) Name() string { return SplitName }

// VCPU implements Chip.
func (s *Split) VCPU(id int) vcpu.Controller { return &s.vcpus[id] }

// Close implements Chip.
func (s *Split) Close() error { return s.closeBridge() }

// signalMSI is the IOAPIC's way to KVM's local APICs. KVM tells whether somebody took a message, not whether it was merged with one that
// was waiting.
type signalMSI struct{ vm *kvm.VM }

// Deliver implements ioapic.Output.
func (o signalMSI) Deliver(m ioapic.Message) ioapic.Acceptance {
	msi := m.MSI()
	if ok, err := o.vm.SignalMSI(msi.Address, msi.Data); !ok || err != nil {
		return ioapic.Nobody
	}
	return ioapic.Delivered
}

// routeChanged is told by the IOAPIC of a pin. An edge-triggered one needs no route. A masked one keeps its own: its last interrupt may be
// in service.
func (s *Split) routeChanged(pin int) {
	var m pci.Message
	if e := s.ioapic.RTE(pin); e.Level() {
		m, _ = e.MSI()
	}
	if err := s.setPin(pin, m); err != nil {
		s.refuse.Do(func() { s.warn("ioapic pin %d: %v: EOIs of its interrupts are not heard of", pin, err) })
	}
}
