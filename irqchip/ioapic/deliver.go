package ioapic

import "doorbell/internal/pci"

// Which threads meet, and why no level interrupt is lost or doubled
//
// A pin's state is two words: its lines (sources) and its entry (rte). Devices change the first, by one atomic operation each. The
// second is changed by compare-and-swap in four places: service sets remote IRR, takeBack and EOI clear it, rewrite gives the guest's
// fields new values. All operations on the two words are in one order that every thread agrees on, which Go's atomics promise.
//
// Not lost. A level interrupt is due when the line is active and the entry is level-triggered, unmasked, not being switched and without
// remote IRR. Whoever makes one of these true calls service afterwards: a device after its bit, an EOI after clearing remote IRR, a
// writer after its fields and again after the switch. service reads the entry first and the lines second. Let the conditions become true
// by the writes of several threads; the last of these writes is followed by its thread's service, which sees all of them. For the two
// that meet most often:
//
//	device            EOI                 device sees remote IRR set, so its read came before the EOI's clearing, and so did its
//	set bit           clear remote IRR    bit: the EOI's read of the lines comes later and sees it. Or the device sees remote IRR
//	read rte          read rte            clear, and goes on itself.
//	read sources      read sources
//
// Not doubled. Several threads may find the same interrupt due. The compare-and-swap that sets remote IRR lets one of them pass; the
// others find it set. A thread that was slow cannot pass on what it saw earlier, even if remote IRR is clear again by then: rteTurn has
// changed, its compare-and-swap fails, and it looks again. So the line was active at a moment after the previous interrupt's EOI, and
// a guest whose handler silences the device before its EOI does not see the same request twice. That moment may be over when the message
// arrives: the device may have withdrawn its request, which the data sheet leaves to software, too (section 3.2.4, mask).
//
// Remote IRR is set before the message is sent, though the chip does it when the message is accepted. The other order has a hole: the
// processor can take the interrupt and send the EOI before the sender comes to set the bit, which would then stay for ever. The price is
// that a message that Nobody took must be taken back. takeBack does so only if its own turn is still the last one, and it looks whether
// the entry was written or Redeliver called in the meantime: they found remote IRR set and left the interrupt to us. Otherwise nothing
// has changed that could make somebody take the message, and the interrupt waits as Output says.
//
// What remains as on hardware: pins that share a vector share its EOIs, too, so that the first EOI clears both entries' remote IRR, and
// those that are still active are sent again, at worst while the first message is on its way (ICH9 section 13.5.4). A write that makes the
// entry edge-triggered clears remote IRR without an EOI; the EOI that comes later finds nothing or, if the entry is level-triggered
// again by then, ends the next interrupt early, which is sent again if its line is still active. An edge is a moment and not a state: it is
// sent by the entry that the thread found when the edge came, however the entry changes meanwhile.

// maxSends is how often one call of service sends a message that Nobody takes because the entry keeps changing. Then the
// interrupt is left to Later.
const maxSends = 4

// service sends pin n's level interrupt if one is due, and reports whether it was accepted.
func (c *IOAPIC) service(n int) bool {
	p := &c.pins[n]
	for sends := 0; sends < maxSends; {
		e := RTE(p.rte.Load())
		if e&(rteIRR|rteSwitching) != 0 || !p.due(e) {
			return false
		}
		sent := e&^(rteTurn|rteAgain) | (e+rteTurnOne)&rteTurn | rteIRR
		if !p.rte.CompareAndSwap(uint64(e), uint64(sent)) {
			continue // another thread has got further
		}
		if c.send(p, sent) {
			return true
		}
		if !p.takeBack(sent) {
			return false
		}
		sends++
	}
	if c.later != nil {
		c.later(n)
	}
	return false
}

// takeBack clears the remote IRR of an interrupt that nobody took, and says whether it is worth another try: the entry was written since,
// or somebody asked for it.
func (p *pin) takeBack(sent RTE) (again bool) {
	for {
		e := RTE(p.rte.Load())
		if (e^sent)&(rteIRR|rteTurn) != 0 {
			return false // an EOI or a write has cleared it, and has looked at the line since
		}
		if p.rte.CompareAndSwap(uint64(e), uint64(e&^(rteIRR|rteAgain))) {
			return e != sent
		}
	}
}

// send sends an entry's message, and says whether somebody accepted it.
func (c *IOAPIC) send(p *pin, e RTE) bool {
	if mode := e.Mode(); !delivered(mode) {
		if mode == pci.SMI {
			p.smi.Add(1)
		} else {
			p.reserved.Add(1)
		}
		return false
	}
	switch c.out.Deliver(e.Message()) {
	case Delivered:
		p.delivered.Add(1)
		return true
	case Coalesced:
		p.coalesced.Add(1)
		return true
	default:
		p.nobody.Add(1)
		return false
	}
}
