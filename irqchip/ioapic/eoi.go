package ioapic

import "math/bits"

// StormLimit is how many EOIs in succession may find their pin still active before the interrupt is delivered late.
//
// A guest that cannot silence a device takes the same interrupt again as soon as it has ended it, and does nothing else. On hardware
// the message needs its time, in which the guest gets a little further: far enough to count unhandled interrupts and to disable the
// line. Here it would be there at once. A device on the pin that ceases to ask is progress, and so is an EOI that finds nothing due.
const StormLimit = 10000

// EOI is an end-of-interrupt message for a vector: a local APIC's broadcast after a level-triggered interrupt (SDM section 11.8.5) or a
// write to the EOI register (ICH9 section 13.5.4). It clears the remote IRR of every entry with the vector; pins that are still active
// are delivered again.
func (c *IOAPIC) EOI(vector uint8) {
	for pins := c.byVector[vector].Load(); pins != 0; pins &= pins - 1 {
		c.endOfInterrupt(bits.TrailingZeros64(pins), vector)
	}
}

func (c *IOAPIC) endOfInterrupt(n int, vector uint8) {
	p := &c.pins[n]
	for {
		e := RTE(p.rte.Load())
		if e.Vector() != vector || !e.RemoteIRR() {
			return
		}
		if p.rte.CompareAndSwap(uint64(e), uint64(e&^rteIRR)) {
			break
		}
	}
	p.eois.Add(1)
	if c.ended != nil {
		c.ended(n)
	}
	if !p.due(RTE(p.rte.Load())) {
		p.storm.Store(0)
		return
	}
	if c.later != nil && p.storm.Add(1) >= c.stormLimit {
		p.storm.Store(0)
		p.throttled.Add(1)
		c.later(n)
		return
	}
	if c.service(n) {
		p.redelivered.Add(1)
	}
}

// Redeliver sends a pin's level interrupt if it is due: after Later's pause, or because a local APIC that was not there has come.
// It does nothing for an interrupt that has been delivered since, or is no longer wanted.
func (c *IOAPIC) Redeliver(pin int) {
	if uint(pin) >= Pins {
		return
	}
	p := &c.pins[pin]
	for {
		e := RTE(p.rte.Load())
		// With remote IRR set, the interrupt is in service, or a message is on its way that may yet be refused.
		if !e.RemoteIRR() || e&rteAgain != 0 || p.rte.CompareAndSwap(uint64(e), uint64(e|rteAgain)) {
			break
		}
	}
	if c.service(pin) {
		p.late.Add(1)
	}
}
