package ioapic

// RTE is a pin's entry as a guest would read it now; a pin that does not exist is masked. A level interrupt that is due and has not
// been accepted is seen in its delivery status.
func (c *IOAPIC) RTE(pin int) RTE {
	if uint(pin) >= Pins {
		return rteReset
	}
	p := &c.pins[pin]
	e := RTE(p.rte.Load())
	v := e & rteVisible
	if p.due(e) && !e.RemoteIRR() {
		v |= rteDELIVS
	}
	return v
}

// writeRTE is a guest's write to the half of an entry that writable has the fields of. The two halves are two writes, and between
// them the chip works with one old and one new half; a guest masks the entry first.
func (c *IOAPIC) writeRTE(n int, value, writable RTE) {
	c.mu.Lock()
	c.rewrite(n, value, writable)
	c.mu.Unlock()
	// A level may have become deliverable: by the mask bit, the polarity, the trigger mode or a destination that exists.
	c.service(n)
}

// rewrite gives the fields in writable new values. Called with mu held, so that nobody else changes them; remote IRR and the turns
// may change at any time.
func (c *IOAPIC) rewrite(n int, value, writable RTE) {
	p := &c.pins[n]
	was := RTE(p.rte.Load())
	fields := func(e RTE) RTE { return e&^writable | value&writable }
	tell := c.routeChanged != nil && (was^fields(was))&rteRoute != 0
	vector := fields(was).Vector()
	// Into the index before the entry and out of it after, so that no EOI misses the entry.
	c.byVector[vector].Or(1 << n)
	for {
		e := RTE(p.rte.Load())
		next := fields(e)
		switch {
		case !next.Level():
			// There is no EOI to wait for. Linux clears a remote IRR that way on chips without an EOI register: it makes the entry
			// edge-triggered, masked, and then level-triggered again.
			next &^= rteIRR
		case tell:
			next |= rteSwitching
		}
		if p.rte.CompareAndSwap(uint64(e), uint64(next)) {
			break
		}
	}
	if was.Vector() != vector {
		c.byVector[was.Vector()].And(^uint64(1 << n))
	}
	if tell {
		c.routeChanged(n)
		p.rte.And(^uint64(rteSwitching))
	}
}
