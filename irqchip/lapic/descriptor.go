package lapic

import (
	"sync/atomic"

	"doorbell/internal/ledger"
)

// Descriptor is where other threads leave interrupts for a vCPU: devices, and vCPUs that send IPIs. It follows the posted-interrupt
// descriptor of the hardware (SDM volume 3C, "Posted-Interrupt Processing"), and beside it has room for what is not a vector.
//
// Any thread may post. Only the vCPU's own thread takes things out, in APIC.Sync.
//
// # Why no wakeup is lost, and few are sent
//
// A poster publishes first and then looks at ON; the owner clears ON first and then looks at what is published:
//
//	poster                      owner (Sync)
//	1. set the bit in PIR       3. clear ON
//	2. set ON; was it clear?    4. take PIR
//	   then kick
//
// Go's atomic operations are sequentially consistent: there is one order of all four steps that every thread agrees on. (On x86
// it is what the LOCK prefix of a read-modify-write gives; a plain store at 1 and a plain load at 2 could pass each other.) If 2 comes
// before 3, then so does 1, and 4 takes the bit. If 2 comes after 3, it finds ON clear and kicks, or another poster has set ON since
// 3 and kicks for both. So a bit that this Sync misses has a kick behind it, and the kick leads to the next Sync. As long as ON stays
// set, nobody kicks: any number of posts between two Syncs ask for one.
//
// While SN is set, nobody sets ON and nobody kicks: the owner is not interested, because its thread does not run the guest and will
// call Resume before it does.
type Descriptor struct {
	pir     [4]atomic.Uint64 // posted-interrupt requests, by vector
	level   [4]atomic.Uint64 // the trigger mode that each vector was posted with last: 1 is level
	control atomic.Uint32    // ON and SN
	events  atomic.Uint32    // evNMI and the others
	// accepting says that the APIC takes vectors: it is enabled in hardware and in software. Only the owner writes it.
	accepting atomic.Bool
	_         [64]byte // keeps the counts off the line of the bits

	raised    [256]ledger.Shared
	coalesced [256]ledger.Shared // found their bit set in PIR
	illegal   ledger.Shared      // vectors 0 to 15
}

// Bits of Descriptor.control, in their hardware's order.
const (
	ctlON = 1 << 0 // outstanding notification
	ctlSN = 1 << 1 // suppress notification
)

// Bits of Descriptor.events.
const (
	evNMI = 1 << iota
	evSMI
	evINIT
	evSIPI
	evExtINT
	evIllegal // a vector below 16 was sent here
	evEdge0   // LINT0 has become active; evEdge0<<1 is LINT1's
	evEdge1
	evLine0 // LINT0 is active; evLine0<<1 is LINT1's
	evLine1

	evLines       = evLine0 | evLine1
	evVectorShift = 24 // of the SIPI
	evVector      = 0xff << evVectorShift
)

// firstVector is the lowest vector that is not illegal for an interrupt (SDM section 11.5.2).
const firstVector = 16

// Post leaves a vector for the vCPU, edge- or level-triggered. notify asks the caller to kick the vCPU: of all that post between two
// Syncs, one is asked. A vector below 16 becomes an error in the receiver's ESR.
func (d *Descriptor) Post(vector uint8, level bool) (notify bool) {
	notify, _ = d.post(vector, level)
	return notify
}

// post is Post, and tells whether the vector found itself waiting already.
func (d *Descriptor) post(vector uint8, level bool) (notify, coalesced bool) {
	if vector < firstVector {
		d.illegal.Add(1)
		return d.postEvent(evIllegal), false
	}
	d.raised[vector].Add(1)
	w, bit := vector/64, uint64(1)<<(vector%64)
	// The trigger mode is a property that posters set and the owner only reads. Were it taken together with PIR, a level that is posted
	// between the taking of the two would lose it. Most vectors never change theirs, which costs them one load.
	if has := d.level[w].Load()&bit != 0; level && !has {
		d.level[w].Or(bit)
	} else if !level && has {
		d.level[w].And(^bit)
	}
	if d.pir[w].Or(bit)&bit != 0 {
		d.coalesced[vector].Add(1)
		coalesced = true
	}
	return d.notify(), coalesced
}

// notify is step 2: it returns true to the one caller that sets ON.
func (d *Descriptor) notify() bool {
	for {
		c := d.control.Load()
		if c&(ctlON|ctlSN) != 0 {
			return false
		}
		if d.control.CompareAndSwap(c, c|ctlON) {
			return true
		}
	}
}

// PostNMI, PostSMI and PostExtINT leave an interrupt that has no vector. Each is one latch: the second before the owner has taken the first
// is merged with it.
func (d *Descriptor) PostNMI() (notify bool) { return d.postEvent(evNMI) }

// PostSMI leaves a system management interrupt.
func (d *Descriptor) PostSMI() (notify bool) { return d.postEvent(evSMI) }

// PostExtINT leaves an interrupt whose vector the PIC has.
func (d *Descriptor) PostExtINT() (notify bool) { return d.postEvent(evExtINT) }

func (d *Descriptor) postEvent(event uint32) (notify bool) {
	if d.events.Load()&event == 0 {
		d.events.Or(event)
	}
	return d.notify()
}

// PostINIT leaves an INIT. It wipes out what came before it and has not been taken, so that of an INIT and a SIPI the order is known: if
// both are there, the SIPI came second.
func (d *Descriptor) PostINIT() (notify bool) {
	for {
		was := d.events.Load()
		if d.events.CompareAndSwap(was, was&evLines|evINIT) {
			return d.notify()
		}
	}
}

// PostSIPI leaves a start-up IPI. The second of two is ignored, as by a processor that the first has started (SDM section 9.4.4: system
// software sends two).
func (d *Descriptor) PostSIPI(vector uint8) (notify bool) {
	for {
		was := d.events.Load()
		if was&evSIPI != 0 || d.events.CompareAndSwap(was, was&^evVector|evSIPI|uint32(vector)<<evVectorShift) {
			return d.notify()
		}
	}
}

// LINT drives one of the two interrupt pins, 0 or 1, for example with the output of the PIC. To repeat what it is costs one load.
func (d *Descriptor) LINT(pin int, active bool) (notify bool) {
	if uint(pin) > 1 {
		return false
	}
	line, edge := uint32(evLine0)<<pin, uint32(evEdge0)<<pin
	for {
		was := d.events.Load()
		if was&line != 0 == active {
			return false
		}
		now := was &^ line
		if active {
			now |= line | edge
		}
		if d.events.CompareAndSwap(was, now) {
			return d.notify()
		}
	}
}

// Suppress sets SN: until Resume, posts ask for no kick.
func (d *Descriptor) Suppress() { d.control.Or(ctlSN) }

// Resume clears SN and sets ON, as if somebody had posted: the Sync that the owner makes next looks for what came in the meantime. A poster
// that saw SN had published before, and what comes after Resume finds ON set and relies on that Sync, too.
func (d *Descriptor) Resume() { d.control.Store(ctlON) }
