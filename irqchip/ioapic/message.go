package ioapic

import "doorbell/internal/pci"

// Message is what the chip tells the local APICs. Who its destination is, only they know.
type Message struct {
	// Vector means nothing in the modes NMI, INIT and ExtINT.
	Vector uint8
	// Mode is Fixed, LowestPriority, NMI, INIT or ExtINT.
	Mode pci.DeliveryMode
	// Dest is an APIC id or, if Logical is set, a logical destination. EDID is the extended destination id, 0 on a plain PC.
	Dest, EDID uint8
	Logical    bool
	// Level is the trigger mode: the local APIC keeps it in its TMR and sends an EOI when the handler is done.
	Level bool
}

// Acceptance is what became of a message.
type Acceptance uint8

// What can become of a message.
const (
	// Delivered: at least one destination took it for a new interrupt.
	Delivered Acceptance = iota
	// Coalesced: the same vector was waiting in IRR at every destination. The two are one interrupt, with one EOI.
	Coalesced
	// Nobody: no local APIC has this destination, or none of them takes it.
	Nobody
)

// Output is the way to the local APICs.
type Output interface {
	// Deliver sends a message. It is called by the thread that caused the interrupt, by several at once, and must neither block nor
	// call the IOAPIC. It runs inside SetPin, Source.Set, EOI, Redeliver and Write, under whatever locks their callers hold: a local
	// APIC sends its EOI after it has let go of what Deliver needs. An edge interrupt that Nobody takes is lost. A level interrupt
	// waits: it is sent anew when its entry is written, when its line next becomes active and when the owner calls Redeliver.
	Deliver(Message) Acceptance
}
