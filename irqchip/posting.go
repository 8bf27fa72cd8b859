package irqchip

import (
	"doorbell/internal/kvm"
	"doorbell/internal/pci"
)

// virtualizesAPIC is the host's answer.
var virtualizesAPIC = kvm.VirtualizesAPIC

// Posting says of messages whether they can be posted: written into the running vCPU's local APIC without an exit (Intel SDM volume 3, section 30.6;
// AMD APM volume 2, section 15.29).
type Posting struct{ off string } // why none is; "" if some are

// NewPosting looks at the host. chip is the name of the machine's controllers.
func NewPosting(chip string) Posting {
	if chip == UserName {
		return Posting{"the local APICs are doorbell's own: KVM posts to its own only"}
	}
	_, why := virtualizesAPIC()
	return Posting{why}
}

// WhyNot is what keeps a message from being posted. It is "" where nothing that the host shows does; then the injecting thread has to be on another
// processor than the vCPU.
func (p Posting) WhyNot(m pci.Message) string {
	if p.off != "" {
		return p.off
	}
	i, ok := m.Interrupt()
	switch {
	case !ok:
		return "its message is for no local APIC"
	case i.Mode != pci.Fixed && i.Mode != pci.LowestPriority:
		return "its delivery mode is " + i.Mode.String()
	case i.Logical && i.Destination&(i.Destination-1) != 0:
		return "it has several destinations"
	}
	return ""
}
