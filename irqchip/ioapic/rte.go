package ioapic

import "doorbell/internal/pci"

// RTE is an I/O redirection table entry (82093AA section 3.2.4, ICH9 section 13.5.7).
type RTE uint64

// Fields of an RTE.
const (
	rteVector  RTE = 0xff
	rteDELMOD  RTE = 7 << 8    // delivery mode
	rteDESTMOD RTE = 1 << 11   // destination mode: 1 is logical
	rteDELIVS  RTE = 1 << 12   // delivery status, read-only: 1 is send pending. Never stored, see IOAPIC.RTE
	rteINTPOL  RTE = 1 << 13   // input polarity: 1 is active low
	rteIRR     RTE = 1 << 14   // remote IRR, read-only. Set only in entries that are Level
	rteTM      RTE = 1 << 15   // trigger mode: 1 is level
	rteMask    RTE = 1 << 16   // interrupt mask
	rteEDID    RTE = 255 << 48 // extended destination id, which the 82093AA lacks and the ICH9 sends but cannot write
	rteDest    RTE = 255 << 56

	rteEDIDShift = 48
	rteDestShift = 56
	rteMode      = 8 // shift of rteDELMOD
)

// rteReset is an entry after reset; the fields that the data sheet leaves undefined are 0.
const rteReset = rteMask

// Sets of fields.
const (
	// rteWritable are what a guest writes. EDID is among them, as in the chips after the ICH9: guests put the upper bits of an APIC
	// id there where the hypervisor offers that, and the index of a remapping table's entry.
	rteWritable = rteVector | rteDELMOD | rteDESTMOD | rteINTPOL | rteTM | rteMask | rteEDID | rteDest
	rteVisible  = rteWritable | rteIRR
	// rteRoute are what decides on the message and whether it is sent.
	rteRoute = rteWritable &^ rteINTPOL
)

// The reserved bits 17 to 47 of a stored entry hold what must change together with remote IRR. A guest never sees them.
const (
	// rteSwitching is set while RouteChanged is being told of the entry.
	rteSwitching RTE = 1 << 17
	// rteTurn counts the times that remote IRR was set, so that a compare-and-swap fails when another thread has had a turn since.
	// 2^29 turns within one compare-and-swap do not happen.
	rteTurn    RTE = (1<<29 - 1) << 18
	rteTurnOne RTE = 1 << 18
	// rteAgain is set by a Redeliver that finds remote IRR set: if it turns out that nobody has taken the message, it is sent again.
	rteAgain RTE = 1 << 47
)

// Vector is the interrupt vector. Those below 10h are illegal, which the local APIC finds.
func (e RTE) Vector() uint8 { return uint8(e) }

// Mode is the delivery mode; the reserved ones are among them.
func (e RTE) Mode() pci.DeliveryMode { return pci.DeliveryMode(e & rteDELMOD >> rteMode) }

// Logical says that the destination is a logical one.
func (e RTE) Logical() bool { return e&rteDESTMOD != 0 }

// Dest is the destination: an APIC id, or a logical destination.
func (e RTE) Dest() uint8 { return uint8(e >> rteDestShift) }

// EDID is the extended destination id.
func (e RTE) EDID() uint8 { return uint8(e >> rteEDIDShift) }

// Level says that the pin's level counts and not its edges. SMI, NMI, INIT and ExtINT are edge-triggered whatever the trigger mode
// bit says, and never set remote IRR.
func (e RTE) Level() bool { return e&rteTM != 0 && e.Mode() <= pci.LowestPriority }

// ActiveLow is the polarity: a low voltage at the pin is active.
func (e RTE) ActiveLow() bool { return e&rteINTPOL != 0 }

// Masked is the mask bit.
func (e RTE) Masked() bool { return e&rteMask != 0 }

// RemoteIRR says that a level interrupt was accepted and its EOI has not come.
func (e RTE) RemoteIRR() bool { return e&rteIRR != 0 }

// Pending is the delivery status, which IOAPIC.RTE works out: a level interrupt is due and has not been accepted.
func (e RTE) Pending() bool { return e&rteDELIVS != 0 }

// Message is what the entry sends.
func (e RTE) Message() Message {
	return Message{Vector: e.Vector(), Mode: e.Mode(), Logical: e.Logical(), Dest: e.Dest(), EDID: e.EDID(), Level: e.Level()}
}

// Fields of a message on the processors' bus (SDM section 11.11).
const (
	msiAddress = 0xfee00000
	msiDest    = 12
	msiEDID    = 4
	msiHint    = 1 << 3 // any of the destinations will do
	msiLogical = 1 << 2
	msiAssert  = 1 << 14 // the chip sends no other
	msiLevel   = 1 << 15
	msiMode    = 8
)

// MSI is the message that the entry sends; see Message.MSI. ok is false for an entry that sends none: it is masked, or the model drops its
// delivery mode.
func (e RTE) MSI() (m pci.Message, ok bool) {
	return e.Message().MSI(), !e.Masked() && delivered(e.Mode())
}

// MSI is the message as a write to memory, which is how a message-signalled interrupt and, in an ICH, the IOAPIC's own reach the local APICs.
func (m Message) MSI() pci.Message {
	w := pci.Message{
		Address: msiAddress | uint64(m.Dest)<<msiDest | uint64(m.EDID)<<msiEDID,
		Data:    msiAssert | uint32(m.Mode)<<msiMode | uint32(m.Vector),
	}
	if m.Mode == pci.LowestPriority {
		w.Address |= msiHint
	}
	if m.Logical {
		w.Address |= msiLogical
	}
	if m.Level {
		w.Data |= msiLevel
	}
	return w
}

// delivered says whether messages of this mode leave the chip. SMI does not: there is no system management mode behind it.
func delivered(m pci.DeliveryMode) bool {
	switch m {
	case pci.Fixed, pci.LowestPriority, pci.NMI, pci.INIT, pci.ExtINT:
		return true
	}
	return false
}
