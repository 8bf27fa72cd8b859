package pic

import "math/bits"

// chip is one 8259A. Bit n of a register stands for the input IRn.
type chip struct {
	master bool // the level of SP/EN

	lines uint8 // the IR inputs as they are
	edges uint8 // the edge sense latches: set when the input rises, cleared when it falls or is acknowledged
	elcr  uint8 // inputs that the board makes level-triggered

	imr uint8
	isr uint8

	next  step // what a write with A0 = 1 is
	icw1  uint8
	base  uint8 // ICW2: bits 7:3 of the vector
	slave uint8 // ICW3 of a master: inputs that have a slave
	id    uint8 // ICW3 of a slave: its number on the CAS lines
	icw4  uint8

	lowest     uint8 // the input that has the lowest priority; the next one in the circle has the highest
	autoRotate bool  // rotate in automatic EOI mode
	special    bool  // special mask mode
	readISR    bool  // a read with A0 = 0 reads ISR in place of IRR
	poll       bool  // the next read is the poll command's

	int bool // the output

	raised       [8]uint64
	acknowledged [8]uint64
	eois         [8]uint64
	idleEOIs     uint64
	spurious     uint64
}

// lowestReset is the input with the lowest priority after ICW1.
const lowestReset = 7

// setIR drives an input, and says whether that changed it.
func (c *chip) setIR(n uint8, level bool) bool {
	bit := uint8(1) << n
	if level == (c.lines&bit != 0) {
		return false
	}
	if level {
		c.lines |= bit
		c.edges |= bit
		c.raised[n]++
	} else {
		c.lines &^= bit
		c.edges &^= bit
	}
	return true
}

// irr is IRR. An input requests as long as it is high, but one that is edge-triggered only until it is acknowledged ("Edge and level
// triggered modes"). The edge sense latch works in either mode, as that of the priority cell does (Figure 9).
func (c *chip) irr() uint8 {
	if c.icw1&icw1LTIM != 0 {
		return c.lines
	}
	return c.lines & (c.edges | c.elcr)
}

// blocking is the bits of ISR that count for priorities and for EOIs without a level: in special mask mode not those that IMR masks.
func (c *chip) blocking() uint8 {
	if c.special {
		return c.isr &^ c.imr
	}
	return c.isr
}

// rank is the place of the highest of a set of inputs in the present order of priorities, from 0; of none it is 8.
func (c *chip) rank(set uint8) uint8 {
	return uint8(bits.TrailingZeros8(bits.RotateLeft8(set, -int(c.lowest+1))))
}

// ranked is the input with a rank below 8.
func (c *chip) ranked(rank uint8) uint8 { return (c.lowest + 1 + rank) & 7 }

// request is the input that the chip asks the processor to serve: the highest in IRR that IMR lets through, if it is above all that is in
// service. In special fully nested mode a slave may also interrupt itself: its own priorities decide.
func (c *chip) request() (n uint8, ok bool) {
	if c.next != ready {
		return 0, false
	}
	want, busy := c.rank(c.irr()&^c.imr), c.rank(c.blocking())
	if want == 8 || want > busy {
		return 0, false
	}
	n = c.ranked(want)
	return n, want < busy || c.icw4&icw4SFNM != 0 && c.cascaded(n)
}

// cascaded says whether a slave gives the vector for an input. A single chip has none.
func (c *chip) cascaded(n uint8) bool { return c.icw1&icw1SNGL == 0 && c.slave>>n&1 != 0 }

// raise sets INT if there is a request.
func (c *chip) raise() {
	if _, ok := c.request(); ok {
		c.int = true
	}
}

// update makes INT what the registers say.
func (c *chip) update() { _, c.int = c.request() }
