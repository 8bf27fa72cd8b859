package pic

// step is the place in the initialization sequence.
type step uint8

const (
	uninitialized step = iota // since power-on. OCWs work (Linux looks for a chip by its IMR before it initializes one), requests do not
	ready
	expectICW2
	expectICW3
	expectICW4
)

// ICW1. Bits 7:5 and ADI (bit 2) are for the 8080 and 8085.
const (
	icw1IC4  = 1 << 0 // ICW4 follows
	icw1SNGL = 1 << 1 // single: no ICW3, no slaves
	icw1LTIM = 1 << 3 // all inputs are level-triggered
	icw1Is   = 1 << 4 // tells ICW1 from OCW2 and OCW3
)

// icw2Base is the part of the vector that ICW2 gives, in 8086 mode.
const icw2Base = 0xf8

// icw3ID is the number that ICW3 gives a slave.
const icw3ID = 0x07

// ICW4.
const (
	icw4AEOI = 1 << 1
	icw4SFNM = 1 << 4
)

// writeICW1 starts the sequence wherever the chip is. Until it is complete the chip makes no requests ("After the ICWs are programmed, the
// chip is ready to accept interrupt requests").
//
// The list of what ICW1 does (points a to f) names neither ISR nor rotation in automatic EOI mode. The priority cell's MASTER CLEAR, which is
// active during ICW1 (Figure 9), is taken to clear them with the rest: a kernel that another kernel's interrupt handler has started sends no
// EOI for it.
func (c *chip) writeICW1(v uint8) {
	c.icw1 = v
	c.next = expectICW2
	c.edges = 0
	c.imr = 0
	c.isr = 0
	c.lowest = lowestReset
	c.id = icw3ID
	c.special = false
	c.readISR = false
	c.poll = false
	c.autoRotate = false
	if v&icw1IC4 == 0 {
		c.icw4 = 0
	}
}

// writeData is a write with A0 = 1: a word of the sequence, or OCW1.
func (c *chip) writeData(v uint8) {
	switch c.next {
	case expectICW2:
		c.base = v & icw2Base
		c.next = expectICW3
		if c.icw1&icw1SNGL != 0 {
			c.endOfICW3()
		}
	case expectICW3:
		if c.master {
			c.slave = v
		} else {
			c.id = v & icw3ID
		}
		c.endOfICW3()
	case expectICW4:
		c.icw4 = v
		c.next = ready
	default:
		c.imr = v
	}
}

func (c *chip) endOfICW3() {
	c.next = ready
	if c.icw1&icw1IC4 != 0 {
		c.next = expectICW4
	}
}
