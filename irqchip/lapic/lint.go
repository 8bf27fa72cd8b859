package lapic

// The two pins (SDM sections 11.5.1 and 11.4.3). While the APIC is enabled, their LVT entries say what they mean; while it is disabled in
// hardware, they are the processor's INTR and NMI pins of old.
//
// NMI, SMI and INIT are edges and ExtINT is a level, whatever the trigger mode says. A fixed interrupt is an edge or, at LINT0 only, a level
// that is sent again after its EOI while the pin is active. Remote IRR is set from the sending to the EOI.

// takeLINT looks at the pins as the descriptor had them, and at the edges since the last time.
func (a *APIC) takeLINT(ev uint32) {
	a.lines = ev & evLines
	if a.base&baseEN == 0 {
		a.events.NMI = a.events.NMI || ev&evEdge1 != 0
		return
	}
	if ev&evEdge0 != 0 && !a.levelLINT0() {
		a.local(lvtLINT0)
	}
	if ev&evEdge1 != 0 {
		a.local(lvtLINT1)
	}
	a.sampleLINT0()
}

// levelLINT0 says whether LINT0 is fixed and level-triggered.
func (a *APIC) levelLINT0() bool {
	return a.lvt[lvtLINT0]&(lvtLevel|lvtMode) == lvtLevel|uint32(Fixed)<<lvtModeShift
}

// sampleLINT0 sends the level interrupt of LINT0 if it is due.
func (a *APIC) sampleLINT0() {
	e := &a.lvt[lvtLINT0]
	if !a.levelLINT0() {
		*e &^= lvtRemoteIRR
		return
	}
	if a.lines&evLine0 != 0 && *e&(lvtMask|lvtRemoteIRR) == 0 && a.base&baseEN != 0 {
		if uint8(*e) >= firstVector {
			*e |= lvtRemoteIRR // no EOI would clear it after an illegal vector
		}
		a.raise(uint8(*e), true)
	}
}

// endLINT0 is the EOI of a level-triggered interrupt.
func (a *APIC) endLINT0(vector uint8) {
	if e := &a.lvt[lvtLINT0]; uint8(*e) == vector && *e&lvtRemoteIRR != 0 {
		*e &^= lvtRemoteIRR
		a.sampleLINT0()
	}
}

// AcceptsPIC says whether an interrupt of the PIC reaches this processor: through LINT0 with delivery mode ExtINT (virtual wire mode), or
// past an APIC that is disabled in hardware.
func (a *APIC) AcceptsPIC() bool {
	return !a.waiting && (a.base&baseEN == 0 || a.lvt[lvtLINT0]&(lvtMask|lvtMode) == uint32(ExtINT)<<lvtModeShift)
}

// AcceptsNMI says whether a pulse of LINT1, to which a PC leads its NMI button, becomes an NMI.
func (a *APIC) AcceptsNMI() bool {
	return a.base&baseEN == 0 || a.lvt[lvtLINT1]&(lvtMask|lvtMode) == uint32(NMI)<<lvtModeShift
}

// ExtINT says that the processor is asked to fetch a vector from the PIC: by LINT0, for a PIC that drives the pin, or by a message of that
// delivery mode. It is not subject to PPR. The caller reads the PIC's vector and then calls TakeExtINT.
func (a *APIC) ExtINT() bool {
	return a.extINT && !a.waiting || a.lines&evLine0 != 0 && a.AcceptsPIC()
}

// TakeExtINT forgets the message. LINT0 stays as the PIC drives it.
func (a *APIC) TakeExtINT() { a.extINT = false }

// VirtualWire programs the APIC as firmware leaves the bootstrap processor's (MultiProcessor Specification, section 3.6.2.2): enabled, LINT0
// for the PIC, LINT1 for NMI.
func (a *APIC) VirtualWire() {
	a.writeSVR(a.svr | svrEnable)
	a.writeLVT(lvtLINT0, uint32(ExtINT)<<lvtModeShift)
	a.writeLVT(lvtLINT1, uint32(NMI)<<lvtModeShift)
}
