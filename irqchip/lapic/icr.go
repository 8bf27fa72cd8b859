package lapic

// Fields of ICR, low half (SDM section 11.6.1).
const (
	icrVector         = 0xff
	icrModeShift      = 8
	icrMode           = 7 << icrModeShift
	icrLogical        = 1 << 11
	icrStatus         = 1 << 12 // delivery status, read-only: a message leaves within the write, so it reads 0
	icrLevel          = 1 << 14
	icrTrigger        = 1 << 15
	icrShorthandShift = 18
	icrShorthand      = 3 << icrShorthandShift
	icrWritable       = icrVector | icrMode | icrLogical | icrLevel | icrTrigger | icrShorthand
	// icrXDest are the bits of the high half in xAPIC mode.
	icrXDest = 0xff << 24
)

// writeICR sends an IPI to the destination in the high half, which has been written.
//
// Since the Pentium 4, the level and trigger flags mean nothing, and an IPI is an edge; but the INIT that they make a deassertion is not sent.
// Combinations that the manual calls invalid, such as an NMI to oneself by shorthand, do what they say.
func (a *APIC) writeICR(v uint32) {
	a.icr = v & icrWritable
	m := Message{
		Vector: uint8(v), Mode: Mode(v & icrMode >> icrModeShift), Dest: a.icrDest, Logical: v&icrLogical != 0, Level: true,
		Shorthand: Shorthand(v & icrShorthand >> icrShorthandShift),
	}
	a.count.ipis[m.Mode][m.Shorthand].Add(1)
	switch m.Mode {
	case INIT:
		if v&icrTrigger != 0 && v&icrLevel == 0 {
			a.count.lostIPIs.Add(1)
			return
		}
	case 3, ExtINT: // reserved
		a.count.lostIPIs.Add(1)
		return
	case Fixed, LowestPriority:
		if m.Vector < firstVector {
			a.fault(esrSendIllegal)
		}
	}
	if a.Mode() == XAPIC {
		if m.Dest >>= 24; m.Dest == 0xff && !m.Logical {
			m.Dest = Broadcast
		}
	}
	a.send(m)
}

// writeSelfIPI is a write to the register of x2APIC mode that does nothing else (section 11.12.11).
func (a *APIC) writeSelfIPI(vector uint8) {
	a.count.ipis[Fixed][Self].Add(1)
	if vector < firstVector {
		a.fault(esrSendIllegal)
	}
	a.raise(vector, false)
}

// send hands the message to the bus. One to oneself stays here.
func (a *APIC) send(m Message) {
	switch {
	case m.Shorthand == Self && (m.Mode == Fixed || m.Mode == LowestPriority):
		a.raise(m.Vector, false)
	case m.Shorthand == Self:
		a.desc.deliver(m) // no kick: this thread calls Sync before the guest goes on
	case a.cfg.Out != nil:
		a.cfg.Out.Send(m)
	default:
		a.count.lostIPIs.Add(1)
	}
}
