package lapic

// EOI ends the interrupt of the highest priority that is in service (SDM section 11.8.5). broadcast says that the IOAPICs have to be told: it
// was level-triggered, and software has not chosen to tell them itself (SVR bit 12). With nothing in service it does nothing, and ok is false.
//
// Config.EOI is not called: this is for an EOI that did not come through a register. The caller broadcasts.
func (a *APIC) EOI() (vector uint8, broadcast, ok bool) {
	v := a.isrv()
	if v == 0 {
		a.count.idleEOIs.Add(1)
		return 0, false, false
	}
	a.isr.clear(v)
	a.count.ended[v].Add(1)
	if a.tmr.has(v) {
		a.endLINT0(v)
		if broadcast = a.svr&svrNoBroadcast == 0; broadcast {
			a.count.broadcast.Add(1)
		}
	}
	return v, broadcast, true
}

// writeEOI is a write to the EOI register.
func (a *APIC) writeEOI() {
	if v, broadcast, _ := a.EOI(); broadcast && a.cfg.EOI != nil {
		a.cfg.EOI(v)
	}
}
