package pit

// access is the state of a counter's port: two flip-flops and what is latched. Reads and writes have a flip-flop each, so that a guest may
// mix them ("Read operations").
type access struct {
	readMSB  bool // the next read of a two-byte count is its MSB
	writeMSB bool // the next write likewise
	lsb      uint8

	countLatched  bool
	ol            uint16
	statusLatched bool
	status        uint8
}

// Bits 7:6 of the status byte; the others are the control word's.
const (
	statusOUT  = 1 << 7
	statusNull = 1 << 6
)

// write is a write to the counter's port.
func (c *counter) write(v uint8) {
	switch c.rw() {
	case rwLSB:
		c.setCount(uint16(v))
	case rwMSB:
		c.setCount(uint16(v) << 8)
	default:
		if c.writeMSB = !c.writeMSB; c.writeMSB {
			c.lsb = v
			c.firstByte()
			return
		}
		c.setCount(uint16(v)<<8 | uint16(c.lsb))
	}
}

// latchCount is the counter latch command. A second one before the count is read has no effect.
func (c *counter) latchCount() {
	if !c.countLatched {
		c.countLatched = true
		c.ol = c.count()
	}
}

// latchStatus is the status part of the read-back command. A second one before the status is read has no effect.
func (c *counter) latchStatus() {
	if c.statusLatched {
		return
	}
	c.statusLatched = true
	c.status = c.control
	if c.out {
		c.status |= statusOUT
	}
	if c.null {
		c.status |= statusNull
	}
}

// read is a read of the counter's port: the latched status, then the latched count, then CE as it is.
func (c *counter) read() uint8 {
	if c.statusLatched {
		c.statusLatched = false
		return c.status
	}
	v := c.ol
	if !c.countLatched {
		v = c.count()
	}
	switch c.rw() {
	case rwLSB:
		c.countLatched = false
		return uint8(v)
	case rwMSB:
		c.countLatched = false
		return uint8(v >> 8)
	}
	if c.readMSB = !c.readMSB; c.readMSB {
		return uint8(v)
	}
	c.countLatched = false
	return uint8(v >> 8)
}
