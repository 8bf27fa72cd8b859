package pic

// OCW2: bits 7:5 are the command, bits 2:0 its level.
const (
	ocw2Level = 0x07

	ocw2ClearAutoRotate   = 0 << 5
	ocw2EOI               = 1 << 5
	ocw2SpecificEOI       = 3 << 5
	ocw2SetAutoRotate     = 4 << 5
	ocw2RotateEOI         = 5 << 5
	ocw2SetPriority       = 6 << 5
	ocw2RotateSpecificEOI = 7 << 5
)

// OCW3.
const (
	ocw3RIS  = 1 << 0
	ocw3RR   = 1 << 1 // RIS is to be taken
	ocw3P    = 1 << 2
	ocw3Is   = 1 << 3 // tells OCW3 from OCW2
	ocw3SMM  = 1 << 5
	ocw3ESMM = 1 << 6 // SMM is to be taken
)

// writeCommand is a write with A0 = 0. OCW2 and OCW3 are taken in the middle of an initialization sequence, too.
func (c *chip) writeCommand(v uint8) {
	switch {
	case v&icw1Is != 0:
		c.writeICW1(v)
	case v&ocw3Is != 0:
		c.writeOCW3(v)
	default:
		c.writeOCW2(v)
	}
}

func (c *chip) writeOCW2(v uint8) {
	level := v & ocw2Level
	switch v &^ ocw2Level {
	case ocw2ClearAutoRotate:
		c.autoRotate = false
	case ocw2SetAutoRotate:
		c.autoRotate = true
	case ocw2EOI:
		c.eoiHighest(false)
	case ocw2RotateEOI:
		c.eoiHighest(true)
	case ocw2SpecificEOI:
		c.eoi(level)
	case ocw2RotateSpecificEOI:
		c.eoi(level)
		c.lowest = level
	case ocw2SetPriority:
		c.lowest = level
	}
	// 2 << 5 is no operation.
}

// eoi ends an input's service.
func (c *chip) eoi(n uint8) {
	if c.isr>>n&1 == 0 {
		c.idleEOIs++
		return
	}
	c.isr &^= 1 << n
	c.eois[n]++
}

// eoiHighest ends the service of the input with the highest priority, and gives it the lowest. With none in service it changes nothing.
func (c *chip) eoiHighest(rotate bool) {
	rank := c.rank(c.blocking())
	if rank == 8 {
		c.idleEOIs++
		return
	}
	n := c.ranked(rank)
	c.eoi(n)
	if rotate {
		c.lowest = n
	}
}

func (c *chip) writeOCW3(v uint8) {
	c.poll = v&ocw3P != 0
	if v&ocw3RR != 0 {
		c.readISR = v&ocw3RIS != 0
	}
	if v&ocw3ESMM != 0 {
		c.special = v&ocw3SMM != 0
	}
}

// read is a read. The poll command takes the next one, whatever A0 is.
func (c *chip) read(a0 bool) uint8 {
	switch {
	case c.poll:
		c.poll = false
		return c.pollWord()
	case a0:
		return c.imr
	case c.readISR:
		return c.isr
	default:
		return c.irr()
	}
}
