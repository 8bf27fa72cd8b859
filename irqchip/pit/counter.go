package pit

// counter is one of the three. All of it is as of the CLK pulse at.
type counter struct {
	at uint64

	control uint8  // the low six bits of the control word, as written
	cr      uint32 // the count written last, 1 to 65536 (or to 16665 in BCD), 0 if there is none since the control word
	null    bool   // CR has not reached CE

	load    bool // CR goes to CE with the next pulse
	running bool // CE was loaded since the control word
	held    bool // mode 0 waits for the second byte of a count
	armed   bool // modes 0, 1, 4 and 5: the end of this count is still to come

	// left is the number of pulses to the end of the count, in mode 3 of this half of it. In the other modes it is CE; see ce.
	left uint32
	odd  bool   // mode 3: this is the high half of an odd count
	idle uint16 // CE while the counter is not running: what the last control word left in it

	gate  bool
	out   bool
	rises uint64 // of OUT, since they were taken

	access
}

// powerOn is the control word that the chip starts with: mode 0, two bytes, binary.
const powerOn = rwBoth<<rwShift | mode0<<modeShift

// The control word ("Control Word Format"). Bits 7:6 select the counter.
const (
	controlBCD = 1 << 0
	modeShift  = 1
	modeMask   = 7
	rwShift    = 4
	rwMask     = 3

	controlMask = 0x3f // what a counter keeps
)

// RW: how many bytes a count has. 0 is the counter latch command.
const (
	rwLatch = iota
	rwLSB
	rwMSB
	rwBoth
)

// The modes.
const (
	mode0 = iota
	mode1
	mode2
	mode3
	mode4
	mode5
)

// mode is the mode: 6 and 7 are 2 and 3, whose bit 2 does not matter.
func (c *counter) mode() uint8 {
	m := c.control >> modeShift & modeMask
	if m > mode5 {
		m &= 3
	}
	return m
}

func (c *counter) rw() uint8 { return c.control >> rwShift & rwMask }

func (c *counter) bcd() bool { return c.control&controlBCD != 0 }

// modulus is the number of different counts: below 0 comes modulus-1.
func (c *counter) modulus() uint32 {
	if c.bcd() {
		return 10_000
	}
	return 1 << 16
}

// program takes a control word. All control logic is reset at once, and OUT goes to the mode's initial state, without a CLK pulse
// ("Operation common to all modes"): a rise of OUT that this makes is one like any other. CE stays what it was.
func (c *counter) program(control uint8) {
	c.idle = c.count()
	c.control = control & controlMask
	c.cr = 0
	c.null = true
	c.load = false
	c.running = false
	c.held = false
	c.armed = false
	c.odd = false
	c.access = access{}
	c.setOUT(c.mode() != mode0)
}

// firstByte is the first byte of a two-byte count, which stops mode 0 ("Mode 0", two-byte counts, step 1).
func (c *counter) firstByte() {
	if c.mode() == mode0 {
		c.held = true
		c.setOUT(false)
	}
}

// setCount is a complete count. Where it does not go to CE with the next pulse it waits: in modes 1 and 5 for a trigger, in modes 2 and 3
// for the end of the period or half-period, but for the first count.
func (c *counter) setCount(v uint16) {
	c.cr = c.decode(v)
	c.null = true
	switch c.mode() {
	case mode0:
		c.held = false
		c.setOUT(false)
		c.load = true
	case mode2, mode3:
		c.load = c.load || !c.running
	case mode4:
		c.load = true
	}
}

// setGATE drives GATE ("Gate pin operations summary"). Its rise is a trigger in modes 1, 2, 3 and 5.
func (c *counter) setGATE(level bool) {
	if level == c.gate {
		return
	}
	c.gate = level
	switch c.mode() {
	case mode2, mode3:
		if !level {
			c.setOUT(true)
			return
		}
	case mode1, mode5:
	default:
		return
	}
	if level && c.cr != 0 {
		c.load = true
	}
}

func (c *counter) setOUT(level bool) {
	if level && !c.out {
		c.rises++
	}
	c.out = level
}

// ce is CE of a running counter, as a number. Mode 3 counts by two, and loads an odd count less one, for which the high half shows 0 for a pulse.
func (c *counter) ce() uint32 {
	v := c.left
	if c.mode() == mode3 {
		v *= 2
		if c.odd {
			v -= 2
		}
	}
	return v % c.modulus()
}

// decode is the number of pulses that a count stands for; 0 is the largest.
func (c *counter) decode(v uint16) uint32 {
	n := uint32(v)
	if c.bcd() {
		n = n>>12*1000 + n>>8&0xf*100 + n>>4&0xf*10 + n&0xf
	}
	if n == 0 {
		n = c.modulus()
	}
	return n
}

// count is CE as a guest reads it.
func (c *counter) count() uint16 {
	if !c.running {
		return c.idle
	}
	n := c.ce()
	if c.bcd() {
		n = n/1000<<12 | n/100%10<<8 | n/10%10<<4 | n%10
	}
	return uint16(n)
}
