package vcpu

import (
	"doorbell/internal/kvm"
)

// Controller is the part of the interrupt controllers that is outside KVM, as one vCPU sees it. Its methods are called on the vCPU's
// thread only.
type Controller interface {
	// Setup prepares the vCPU before it first runs.
	Setup(c *CPU) error
	// Enter is called before each entry into the guest: it injects what is to be injected. run is false if the vCPU has nothing to run, being
	// halted or not started yet: its thread sleeps then until it is kicked.
	Enter(c *CPU) (run bool, err error)
	// Left is called when KVM_RUN has returned, before its exit is served.
	Left(c *CPU)
	// Memory serves an access to registers that are this vCPU's own; false if the address is not theirs.
	Memory(addr uint64, write bool, p []byte) bool
	// Exit serves an exit for another reason than I/O and MMIO; false if it is none of the controller's.
	Exit(c *CPU, reason uint32) bool
	// LINT1 pulses the local APIC's pin. served is false if the local APIC is KVM's; nmi says whether the pulse became an NMI.
	LINT1() (nmi, served bool)
}

// ID is the vCPU's number.
func (c *CPU) ID() int { return c.cfg.ID }

// KVM is the vCPU as KVM has it, for a Controller.
func (c *CPU) KVM() *kvm.VCPU { return c.kvm }

// Page is what the vCPU shares with KVM, for a Controller.
func (c *CPU) Page() *kvm.RunPage { return c.page }

// Inject gives KVM a vector for the next entry, for a Controller that has found the vCPU ready for it.
func (c *CPU) Inject(vector uint8) error {
	c.book.Injected()
	return c.kvm.Interrupt(vector)
}

// RequestWindow asks KVM to return as soon as the vCPU can take a vector, or not to.
func (c *CPU) RequestWindow(on bool) {
	if on {
		c.book.Window()
	}
	c.page.RequestWindow(on)
}
