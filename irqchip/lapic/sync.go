package lapic

import "math/bits"

// Sync takes what other threads have posted: vectors to IRR, the rest for Events. The owner calls it before every entry into the guest, and
// before its thread sleeps. When nothing has been posted it costs one load.
func (a *APIC) Sync() {
	d := a.desc
	if d.control.Load() == 0 {
		return // a poster that is between its two steps is about to set ON and to kick
	}
	// ON first: see Descriptor.
	d.control.And(^uint32(ctlON))
	a.takeEvents()
	if a.enabled() {
		a.takePosted()
	} else {
		a.discardPosted()
	}
}

// takePosted moves PIR to IRR. The trigger mode goes to TMR at the same moment (SDM section 11.8.4).
func (a *APIC) takePosted() {
	for w := range a.irr {
		if a.desc.pir[w].Load() == 0 {
			continue
		}
		posted := a.desc.pir[w].Swap(0)
		level := a.desc.level[w].Load()
		a.tmr[w] = a.tmr[w]&^posted | level&posted
		for both := a.irr[w] & posted; both != 0; both &= both - 1 {
			a.count.coalesced[w*64+bits.TrailingZeros64(both)].Add(1)
		}
		a.irr[w] |= posted
	}
}

// discardPosted is takePosted for an APIC that takes no vectors.
func (a *APIC) discardPosted() {
	var gone bitmap
	for w := range gone {
		if a.desc.pir[w].Load() != 0 {
			gone[w] = a.desc.pir[w].Swap(0)
		}
	}
	a.drop(&gone)
}

// drop counts interrupts that are not going to be delivered.
func (a *APIC) drop(b *bitmap) {
	for w, word := range b {
		for ; word != 0; word &= word - 1 {
			a.count.dropped[w*64+bits.TrailingZeros64(word)].Add(1)
		}
	}
}

// raise is an interrupt that the APIC makes itself: accepted at once, or an error, or not wanted.
func (a *APIC) raise(vector uint8, level bool) {
	if vector < firstVector {
		a.count.illegal.Add(1)
		a.fault(esrReceiveIllegal)
		return
	}
	a.count.raised[vector].Add(1)
	switch {
	case !a.enabled():
		a.count.dropped[vector].Add(1)
		return
	case a.irr.has(vector):
		a.count.coalesced[vector].Add(1)
	}
	a.irr.set(vector)
	a.tmr.put(vector, level)
}
