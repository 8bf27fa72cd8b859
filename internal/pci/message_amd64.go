package pci

import "fmt"

// DeliveryMode is how the destination takes an interrupt (Intel SDM, volume 3, section 11.11.2).
type DeliveryMode uint8

// Delivery modes. 3 and 6 are reserved.
const (
	Fixed          DeliveryMode = 0
	LowestPriority DeliveryMode = 1
	SMI            DeliveryMode = 2
	NMI            DeliveryMode = 4
	INIT           DeliveryMode = 5
	ExtINT         DeliveryMode = 7
)

func (d DeliveryMode) String() string {
	switch d {
	case Fixed:
		return "fixed"
	case LowestPriority:
		return "lowest-priority"
	case SMI:
		return "SMI"
	case NMI:
		return "NMI"
	case INIT:
		return "INIT"
	case ExtINT:
		return "ExtINT"
	}
	return fmt.Sprintf("reserved-%d", uint8(d))
}

// Interrupt is a message as the local APICs read it.
type Interrupt struct {
	Destination     uint32 // APIC id, or logical destination
	Logical         bool   // destination mode
	RedirectionHint bool   // any of the destinations will do
	Vector          uint8
	Mode            DeliveryMode
	Level           bool // trigger mode; else edge
	Assert          bool // meaningful for level-triggered messages
}

// Fields of the message address (section 11.11.1) and data (section 11.11.2).
const (
	addressPrefix      = 0xfee << 20
	addressPrefixMask  = 0xfff << 20
	addressDestination = 12
	addressHint        = 1 << 3
	addressLogical     = 1 << 2
	// addressHigh is where the upper 24 bits of an x2APIC id are, in the upper half of the address: KVM's convention, the
	// architecture has room for 8 bits only.
	addressHigh = 0xffffff00 << 32

	dataMode   = 8
	dataAssert = 1 << 14
	dataLevel  = 1 << 15
)

// Interrupt decodes the message. ok is false when the address is none of the local APICs': on the bus such a message is an ordinary
// write to memory.
func (m Message) Interrupt() (i Interrupt, ok bool) {
	if m.Address&^addressHigh>>32 != 0 || m.Address&addressPrefixMask != addressPrefix {
		return Interrupt{}, false
	}
	return Interrupt{
		Destination:     uint32(m.Address>>addressDestination&0xff) | uint32(m.Address&addressHigh>>32),
		Logical:         m.Address&addressLogical != 0,
		RedirectionHint: m.Address&addressHint != 0,
		Vector:          uint8(m.Data),
		Mode:            DeliveryMode(m.Data >> dataMode & 7),
		Level:           m.Data&dataLevel != 0,
		Assert:          m.Data&dataAssert != 0,
	}, true
}

func (i Interrupt) String() string {
	mode, trigger := "physical", "edge"
	if i.Logical {
		mode = "logical"
	}
	if i.Level {
		trigger = "level"
	}
	return fmt.Sprintf("vector %#x to %s %d, %s, %s", i.Vector, mode, i.Destination, i.Mode, trigger)
}
