package lapic

// Events is what happened to a vCPU beside interrupts with a vector.
type Events struct {
	// INIT: the processor is to be reset. Its APIC has been. It comes before SIPI if both are set.
	INIT bool
	// SIPI: the processor is to start in real mode at Vector<<12.
	SIPI   bool
	Vector uint8
	// NMI and SMI are to be delivered; the APIC forgets them with this call.
	NMI, SMI bool
}

// Events is what Sync has taken and the vCPU has not been told. While the vCPU waits for a SIPI, it is not told of NMI and SMI, which stay
// pending.
func (a *APIC) Events() Events {
	e := a.events
	a.events = Events{}
	if a.waiting {
		a.events.NMI, a.events.SMI = e.NMI, e.SMI
		e.NMI, e.SMI = false, false
	}
	return e
}

// Waiting says that the vCPU waits for a SIPI and must not run.
func (a *APIC) Waiting() bool { return a.waiting }

// takeEvents empties the descriptor's events, all of which came after an INIT that is among them.
func (a *APIC) takeEvents() {
	d := a.desc
	ev := d.events.Load()
	if ev&^evLines != 0 {
		ev = d.events.And(evLines)
	}
	if ev&evINIT != 0 {
		// The bootstrap processor starts again at once, the others wait (SDM section 9.4.3).
		a.events, a.extINT = Events{INIT: true}, false
		a.waiting = a.base&baseBSP == 0
		a.initialize()
		a.move()
	}
	if ev&evSIPI != 0 && a.waiting {
		a.waiting = false
		a.events.SIPI, a.events.Vector = true, uint8(ev>>evVectorShift)
	}
	a.events.NMI = a.events.NMI || ev&evNMI != 0
	a.events.SMI = a.events.SMI || ev&evSMI != 0
	a.extINT = a.extINT || ev&evExtINT != 0
	if ev&evIllegal != 0 {
		a.fault(esrReceiveIllegal)
	}
	a.takeLINT(ev)
}
