package lapic

import (
	"fmt"

	"doorbell/internal/pci"
)

// Mode is the delivery mode of a message or of an LVT entry (SDM sections 11.5.1, 11.6.1 and 11.11.2).
type Mode uint8

// Delivery modes. 3 is reserved: it was the P6's remote read. StartUp is only sent by ICR, and ExtINT only by others.
const (
	Fixed          Mode = 0
	LowestPriority Mode = 1
	SMI            Mode = 2
	NMI            Mode = 4
	INIT           Mode = 5
	StartUp        Mode = 6
	ExtINT         Mode = 7
)

func (m Mode) String() string {
	if m == StartUp {
		return "SIPI"
	}
	return pci.DeliveryMode(m).String()
}

// Shorthand is a destination that needs no ID (section 11.6.1).
type Shorthand uint8

// The shorthands, with ICR's encoding.
const (
	NoShorthand Shorthand = iota
	Self
	All
	AllButSelf
)

func (s Shorthand) String() string {
	return [...]string{"destination", "self", "all", "all-but-self"}[s&3]
}

// Broadcast is the destination that means every APIC, physical or logical (section 11.12.9). The 8-bit formats have FFH for it, which is
// translated where a message is made.
const Broadcast = 0xffffffff

// Message is what travels between APICs, and from devices to them.
type Message struct {
	Vector uint8
	Mode   Mode
	// Dest is an APIC ID or, if Logical is set, a logical destination.
	Dest    uint32
	Logical bool
	// Level and Trigger are the flags of these names: assert or deassert, and true for level-triggered. A level that is deasserted is no
	// interrupt.
	Level, Trigger bool
	Shorthand      Shorthand
}

func (m Message) String() string {
	dest := m.Shorthand.String()
	if m.Shorthand == NoShorthand {
		kind := "physical"
		if m.Logical {
			kind = "logical"
		}
		dest = fmt.Sprintf("%s %#x", kind, m.Dest)
	}
	trigger := "edge"
	if m.Trigger {
		trigger = "level"
	}
	return fmt.Sprintf("%v, vector %#x, to %s, %s", m.Mode, m.Vector, dest, trigger)
}

// deasserts says that the message takes a level back, which means nothing since the Pentium 4.
func (m Message) deasserts() bool { return m.Trigger && !m.Level }

// DecodeMSI reads the message of a device. ok is false when the address is not the APICs'. A redirection hint makes a fixed interrupt one of
// lowest priority: any of the destinations will do (section 11.11.1).
func DecodeMSI(msi pci.Message) (m Message, ok bool) {
	i, ok := msi.Interrupt()
	if !ok {
		return Message{}, false
	}
	m = Message{Vector: i.Vector, Mode: Mode(i.Mode), Dest: i.Destination, Logical: i.Logical, Level: i.Assert, Trigger: i.Level}
	if i.RedirectionHint && m.Mode == Fixed {
		m.Mode = LowestPriority
	}
	if m.Dest == 0xff && !m.Logical {
		m.Dest = Broadcast
	}
	return m, true
}
