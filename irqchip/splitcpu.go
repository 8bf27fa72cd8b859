package irqchip

import (
	"errors"
	"sync/atomic"

	"doorbell/internal/kvm"
	"doorbell/vcpu"

	"golang.org/x/sys/unix"
)

// splitCPU is one vCPU's part of Split: it implements vcpu.Controller and, for the first, pic.Output.
type splitCPU struct {
	split *Split
	boot  bool // INTR of the PICs is wired to its LINT0
	cpu   atomic.Pointer[vcpu.CPU]
	held  int // a vector that the PICs have given and KVM has not taken yet, or none
}

// none is no vector.
const none = -1

// SetINTR implements pic.Output: a vCPU that is in the guest does not look at INTR by itself.
func (s *splitCPU) SetINTR(level bool) {
	if c := s.cpu.Load(); level && c != nil {
		c.Kick()
	}
}

// Setup implements vcpu.Controller.
func (s *splitCPU) Setup(c *vcpu.CPU) error {
	s.cpu.Store(c)
	return nil
}

// Enter implements vcpu.Controller. Ready and the window are those of LINT0: while its entry is masked, the vCPU is never ready, and INTR waits.
func (s *splitCPU) Enter(c *vcpu.CPU) (bool, error) {
	if !s.boot {
		return true, nil
	}
	waiting := s.held != none || s.split.pic.INTR()
	if waiting && c.Page().Ready() {
		if s.held == none {
			s.held = int(s.split.pic.Acknowledge())
		}
		switch err := c.Inject(uint8(s.held)); {
		case err == nil:
			s.held = none
		case !errors.Is(err, unix.EEXIST): // the last one waits in KVM: this one follows it
			return false, err
		}
		waiting = s.held != none || s.split.pic.INTR()
	}
	c.RequestWindow(waiting)
	return true, nil
}

// Left implements vcpu.Controller.
func (s *splitCPU) Left(*vcpu.CPU) {}

// Memory implements vcpu.Controller: KVM has the local APIC's page.
func (s *splitCPU) Memory(uint64, bool, []byte) bool { return false }

// Exit implements vcpu.Controller.
func (s *splitCPU) Exit(c *vcpu.CPU, reason uint32) bool {
	switch reason {
	case kvm.ExitIoapicEoi:
		s.split.endOfInterrupt(c.Page().EOIVector())
	case kvm.ExitIrqWindowOpen:
	default:
		return false
	}
	return true
}

// LINT1 implements vcpu.Controller.
func (s *splitCPU) LINT1() (nmi, served bool) { return false, false }

// endOfInterrupt is a local APIC's EOI of a vector that a level-triggered pin has.
func (s *Split) endOfInterrupt(vector uint8) {
	for pin := range s.eoiExits {
		if e := s.ioapic.RTE(pin); e.Level() && e.Vector() == vector {
			s.eoiExits[pin].Add(1)
		}
	}
	s.ioapic.EOI(vector)
}
