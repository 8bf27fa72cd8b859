package pic

// pollI is bit 7 of the poll word: there was a request.
const pollI = 1 << 7

// spuriousLevel is the input that a chip names when it is asked and has no request.
const spuriousLevel = 7

// accept is what both the first INTA pulse and the read after a poll command do: the request goes from IRR to ISR. INT falls, and what
// else wants to be served raises it again when the chip is updated.
func (c *chip) accept() (n uint8, ok bool) {
	n, ok = c.request()
	c.int = false
	if !ok {
		return spuriousLevel, false
	}
	bit := uint8(1) << n
	c.edges &^= bit
	c.isr |= bit
	c.acknowledged[n]++
	return n, true
}

// acknowledge is a sequence of INTA pulses, as far as one chip sees it.
func (c *chip) acknowledge() (n uint8) {
	n, ok := c.accept()
	if !ok {
		c.spurious++
		return n
	}
	c.autoEOI(n)
	return n
}

// pollWord is the answer to the poll command ("Poll command"). The read is to the chip what INTA is, so that automatic EOI follows it.
// Without a request the level is not defined, and 0 here.
func (c *chip) pollWord() uint8 {
	n, ok := c.accept()
	if !ok {
		return 0
	}
	c.autoEOI(n)
	return pollI | n
}

// autoEOI is the end of the last INTA pulse in automatic EOI mode. The EOI has no level, but nothing else can be in service.
func (c *chip) autoEOI(n uint8) {
	if c.icw4&icw4AEOI == 0 {
		return
	}
	c.isr &^= 1 << n
	if c.autoRotate {
		c.lowest = n
	}
}
