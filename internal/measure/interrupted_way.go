package measure

import (
	"doorbell/internal/tinyguest"
	"doorbell/irqchip"
)

// A path is a way by which an interrupt goes to a vCPU.
type path struct {
	name     string
	pin      bool // it goes through a pin of the IOAPIC
	level    bool // which is level-triggered
	userAPIC bool // the local APIC is doorbell's own, outside KVM
}

// The paths.
var (
	bySignalMSI = path{name: "SIGNAL_MSI"}
	byIRQFD     = path{name: "irqfd MSI"}
	byIRQFDPin  = path{name: "irqfd pin", pin: true}
	byLineEdge  = path{name: "IRQ_LINE edge", pin: true}
	byLineLevel = path{name: "IRQ_LINE level", pin: true, level: true}
	byInterrupt = path{name: "KVM_INTERRUPT", userAPIC: true}
)

// An interruptedArm is one way to interrupt a guest that does nothing else than take interrupts.
type interruptedArm struct {
	path   path
	x2apic bool
	halts  bool // the vCPU is halted when the interrupt comes; otherwise it runs
	polls  bool // of one that is halted: its thread does not sleep yet, but polls for what could wake it
	paced  bool // a moment passes between an interrupt's end and the next one; otherwise they come back to back
	pvEOI  bool // the guest ends an interrupt without an exit where KVM lets it
}

// apic names the local APIC's mode.
func (a interruptedArm) apic() string {
	if a.x2apic {
		return "x2APIC"
	}
	return "xAPIC"
}

// target names what the vCPU does when it is interrupted.
func (a interruptedArm) target() string {
	switch {
	case a.polls:
		return "polling"
	case a.halts:
		return "halted"
	case !a.paced:
		return "running, back to back"
	}
	return "running"
}

// guest is what the arm interrupts.
func (a interruptedArm) guest() tinyguest.Interrupted {
	g := tinyguest.Interrupted{X2APIC: a.x2apic, Halts: a.halts, PVEOI: a.pvEOI, Level: a.path.level, Waits: a.path.level}
	if a.path.pin {
		g.Pin = messagePin
	}
	if a.path.userAPIC {
		g.Chip = irqchip.UserName
	}
	return g
}
