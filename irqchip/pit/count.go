package pit

// advance lets the CLK pulses up to and including number to come. It takes the same time for any number of them.
func (c *counter) advance(to uint64) {
	if to <= c.at {
		return
	}
	n := to - c.at
	c.at = to
	if c.load {
		c.transfer()
		n--
	}
	if n == 0 || !c.running {
		return
	}
	mode := c.mode()
	if mode >= mode4 {
		c.setOUT(true) // the strobe is one pulse long, whatever GATE is
	}
	switch {
	case mode == mode1 || mode == mode5: // GATE only triggers
		c.countDown(n)
	case !c.gate || c.held:
	case mode == mode2:
		c.countPeriods(n)
	case mode == mode3:
		c.countHalves(n)
	default:
		c.countDown(n)
	}
}

// transfer is the pulse that takes CR to CE. It does not count.
func (c *counter) transfer() {
	c.load = false
	c.null = false
	c.running = true
	c.armed = true
	c.left = c.cr
	switch c.mode() {
	case mode1:
		c.setOUT(false)
	case mode2:
		c.left = c.period()
		c.setOUT(true)
	case mode3:
		c.startHalf(true)
	case mode4, mode5:
		c.setOUT(true) // a strobe ends with its pulse
	}
}

// period is the count in modes 2 and 3.
func (c *counter) period() uint32 { return max(c.cr, 2) }

// half is the length of the high or the low half of a count in mode 3: an odd count is high for one pulse longer.
func (c *counter) half(high bool) uint32 {
	if high {
		return (c.period() + 1) / 2
	}
	return c.period() / 2
}

// startHalf begins a half of mode 3, for which CR is loaded anew.
func (c *counter) startHalf(high bool) {
	c.null = false
	c.left = c.half(high)
	c.odd = high && c.period()&1 != 0
	c.setOUT(high)
}

// countDown is n pulses of a mode that counts once, and then on from the highest count without a further effect.
func (c *counter) countDown(n uint64) {
	left := uint64(c.left)
	if n < left {
		c.left -= uint32(n)
		return
	}
	if c.armed {
		c.armed = false
		strobes := c.mode() >= mode4
		if strobes {
			c.setOUT(false)
		}
		if !strobes || n > left {
			c.setOUT(true)
		}
	}
	modulus := uint64(c.modulus())
	c.left = uint32(modulus - (n-left)%modulus) // modulus itself is CE at 0
}

// countPeriods is n pulses of mode 2, which is low while CE is 1 and then loads CR.
func (c *counter) countPeriods(n uint64) {
	if n < uint64(c.left) {
		c.left -= uint32(n)
		c.setOUT(c.left != 1)
		return
	}
	n -= uint64(c.left)
	c.null = false
	c.setOUT(false)
	c.setOUT(true)
	period := uint64(c.period())
	c.rises += n / period
	c.left = uint32(period - n%period)
	c.setOUT(c.left != 1)
}

// countHalves is n pulses of mode 3.
func (c *counter) countHalves(n uint64) {
	for range 2 { // the half that has begun, and the low one that may follow it
		if n < uint64(c.left) {
			c.left -= uint32(n)
			return
		}
		n -= uint64(c.left)
		c.startHalf(!c.out)
		if c.out {
			break
		}
	}
	// A high half begins, and all that follows has CR's period.
	period := uint64(c.period())
	c.rises += n / period
	n %= period
	if n >= uint64(c.left) {
		n -= uint64(c.left)
		c.startHalf(false)
	}
	c.left -= uint32(n)
}

// nextRise is the pulse with which OUT rises next, if nobody interferes and GATE is high, as counter 0's is. A rise that nobody has taken
// is one now. c is a copy.
func (c counter) nextRise() (at uint64, ok bool) {
	if c.load && c.rises == 0 {
		c.advance(c.at + 1)
	}
	mode := c.mode()
	switch {
	case c.rises > 0:
		return c.at, true
	case mode >= mode4 && !c.out:
		return c.at + 1, true
	case !c.running || c.held:
		return 0, false
	case mode == mode3 && c.out:
		return c.at + uint64(c.left) + uint64(c.half(false)), true
	case mode == mode2 || mode == mode3:
		return c.at + uint64(c.left), true
	case !c.armed:
		return 0, false
	case mode >= mode4:
		return c.at + uint64(c.left) + 1, true
	}
	return c.at + uint64(c.left), true
}
