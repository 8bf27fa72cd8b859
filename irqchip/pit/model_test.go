package pit

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// modelCounter is a counter as the data sheet tells it, pulse by pulse: CE is its four digits, in base 16 or 10, and goes down by borrowing.
type modelCounter struct {
	word  byte // control word
	base  int
	ce    [4]int // least significant first
	cr    [4]int
	fresh bool // CR has been written since it went to CE
	have  bool // since the control word
	toCE  bool // with the next pulse
	count bool // CE has been loaded since the control word
	stop  bool // between two bytes of a count in mode 0
	ended bool // the count has done what it does once

	gate, out bool
	oddPulse  bool // mode 3: the extra pulse of an odd count's high half is still to come

	rises int

	written, latched, status []byte // bytes of a count so far, and those to be read
	msbNext                  bool
}

func (c *modelCounter) set(out bool) {
	if out && !c.out {
		c.rises++
	}
	c.out = out
}

func (c *modelCounter) mode() int { return map[byte]int{6: 2, 7: 3}[c.word>>1&7] + c.plainMode() }

func (c *modelCounter) plainMode() int {
	if m := int(c.word >> 1 & 7); m < 6 {
		return m
	}
	return 0
}

func digits(v, base int) (d [4]int) {
	for i := range d {
		d[i] = v % base
		v /= base
	}
	return d
}

func (c *modelCounter) is(v int) bool { return c.ce == digits(v, c.base) }

// down is one decrement with its borrows. A digit that no decimal counter shows goes down like the others.
func (c *modelCounter) down() {
	for i := range c.ce {
		if c.ce[i] > 0 {
			c.ce[i]--
			return
		}
		c.ce[i] = c.base - 1
	}
}

func (c *modelCounter) control(v byte) {
	*c = modelCounter{word: v & 0x3f, base: 16, ce: c.ce, gate: c.gate, out: c.out, rises: c.rises, fresh: true}
	if v&1 != 0 {
		c.base = 10
	}
	c.set(c.mode() != 0)
}

func (c *modelCounter) write(v byte) {
	c.written = append(c.written, v)
	var b [2]byte
	switch c.word >> 4 {
	case 1:
		b[0] = v
	case 2:
		b[1] = v
	case 3:
		if c.mode() == 0 {
			c.stop = true
			c.set(false)
		}
		if len(c.written) < 2 {
			return
		}
		b = [2]byte(c.written)
	}
	c.written = nil
	c.cr = [4]int{int(b[0] & 0xf), int(b[0] >> 4), int(b[1] & 0xf), int(b[1] >> 4)}
	c.fresh, c.have, c.stop = true, true, false
	switch m := c.mode(); {
	case m == 0:
		c.set(false)
		c.toCE = true
	case m == 4, m <= 3 && m >= 2 && !c.count:
		c.toCE = true
	}
}

func (c *modelCounter) gateTo(level bool) {
	rose, fell := level && !c.gate, !level && c.gate
	c.gate = level
	m := c.mode()
	if fell && (m == 2 || m == 3) {
		c.set(true)
	}
	if rose && c.have && m != 0 && m != 4 {
		c.toCE = true
	}
}

// transfer takes CR to CE.
func (c *modelCounter) transfer() {
	c.ce, c.fresh, c.count, c.ended = c.cr, false, true, false
	if m := c.mode(); m == 2 || m == 3 {
		if c.is(1) {
			c.ce = digits(2, c.base)
		}
	}
}

// half begins a half of mode 3.
func (c *modelCounter) half(high bool) {
	c.transfer()
	odd := c.ce[0]%2 != 0
	if odd {
		c.down()
	}
	c.oddPulse = odd && high
	c.set(high)
}

// pulse is one CLK pulse.
func (c *modelCounter) pulse() {
	m := c.mode()
	if m >= 4 {
		c.set(true)
	}
	if c.toCE {
		c.toCE = false
		switch m {
		case 3:
			c.half(true)
		case 1:
			c.set(false)
			c.transfer()
		default:
			c.transfer()
			if m == 2 {
				c.set(true)
			}
		}
		return
	}
	if !c.count || !c.gate && m != 1 && m != 5 || c.stop {
		return
	}
	switch m {
	case 2:
		if c.is(1) {
			c.transfer()
			c.set(true)
		} else {
			c.down()
			c.set(!c.is(1))
		}
	case 3:
		if c.oddPulse && c.is(0) {
			c.half(false)
			return
		}
		c.down()
		c.down()
		if c.is(0) && !c.oddPulse {
			c.half(!c.out)
		}
	default:
		c.down()
		if c.is(0) && !c.ended {
			c.ended = true
			c.set(m < 4)
		}
	}
}

func (c *modelCounter) bytes() []byte {
	b := []byte{byte(c.ce[0] | c.ce[1]<<4), byte(c.ce[2] | c.ce[3]<<4)}
	switch c.word >> 4 {
	case 1:
		return b[:1]
	case 2:
		return b[1:]
	}
	return b
}

func (c *modelCounter) latch() {
	if c.latched != nil {
		return
	}
	c.latched = c.bytes()
	if c.msbNext {
		c.latched = c.latched[1:]
	}
}

func (c *modelCounter) latchStatus() {
	if c.status != nil {
		return
	}
	v := c.word
	if c.out {
		v |= 0x80
	}
	if c.fresh {
		v |= 0x40
	}
	c.status = []byte{v}
}

func (c *modelCounter) read() byte {
	if c.status != nil {
		v := c.status[0]
		c.status = nil
		return v
	}
	both := c.word>>4 == 3
	if c.latched != nil {
		v := c.latched[0]
		if c.latched = c.latched[1:]; len(c.latched) == 0 {
			c.latched = nil
		}
		c.msbNext = both && !c.msbNext
		return v
	}
	b := c.bytes()
	v := b[0]
	if c.msbNext {
		v = b[1]
	}
	c.msbNext = both && !c.msbNext
	return v
}

// modelPIT is three of them.
type modelPIT struct {
	c      [3]modelCounter
	low    byte // of port 61
	pulses uint64
}

func newModelPIT(pulses uint64) *modelPIT {
	m := &modelPIT{pulses: pulses}
	for i := range m.c {
		m.c[i].gate = i < 2
		m.c[i].control(0x30)
	}
	return m
}

func (m *modelPIT) pass(pulses int) {
	m.pulses += uint64(pulses)
	for range pulses {
		for i := range m.c {
			m.c[i].pulse()
		}
	}
}

func (m *modelPIT) write(port uint16, v byte) {
	switch {
	case port == 0x61:
		m.low = v & 0xf
		m.c[2].gateTo(v&1 != 0)
	case port < 0x43:
		m.c[port-0x40].write(v)
	case v < 0xc0 && v&0x30 == 0:
		m.c[v>>6].latch()
	case v < 0xc0:
		m.c[v>>6].control(v)
	default:
		for i := range m.c {
			if v>>(i+1)&1 == 0 {
				continue
			}
			if v&0x20 == 0 {
				m.c[i].latch()
			}
			if v&0x10 == 0 {
				m.c[i].latchStatus()
			}
		}
	}
}

func (m *modelPIT) read(port uint16) byte {
	switch {
	case port == 0x61:
		v := m.low
		if m.pulses/18%2 == 1 {
			v |= 0x10
		}
		if m.c[2].out {
			v |= 0x20
		}
		return v
	case port < 0x43:
		return m.c[port-0x40].read()
	}
	return 0xff
}

// decimal makes a byte two decimal digits: what lies beyond, CE does not have, and the two models do different things with it.
func decimal(v byte) byte { return v%100/10<<4 | v%10 }

// TestAgainstModel drives both with the same accesses at the same times.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		b := newBench(t)
		m := newModelPIT(b.clk)
		write := func(port uint16, values ...byte) {
			for _, v := range values {
				if port < Control && m.c[port-Counter0].word&1 != 0 {
					v = decimal(v)
				}
				b.write(port, v)
				m.write(port, v)
			}
		}
		pass := func(n int) {
			b.clk += uint64(n)
			m.pass(n)
		}
		port := rapid.SampledFrom([]uint16{Counter0, Counter0, Counter0, Counter2, Counter2, Counter2, Counter1, Control, SystemControl})
		word := rapid.Custom(func(r *rapid.T) byte {
			return rapid.SampledFrom([]byte{0x00, 0x00, 0x80, 0x80, 0x40, 0xc0}).Draw(r, "counter")&0xff |
				rapid.SampledFrom([]byte{0, 1, 1, 2, 3, 3}).Draw(r, "RW")<<4 | rapid.ByteRange(0, 15).Draw(r, "mode")
		})
		small := rapid.SampledFrom([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 20, 255})
		r.Repeat(map[string]func(*rapid.T){
			"program": func(r *rapid.T) {
				w := word.Draw(r, "word")
				write(Control, w)
				if w < 0xc0 {
					write(Counter0+uint16(w>>6), small.Draw(r, "LSB"))
					if w>>4&3 == 3 {
						write(Counter0+uint16(w>>6), rapid.SampledFrom([]byte{0, 0, 0, 1, 255}).Draw(r, "MSB"))
					}
				}
			},
			"count":   func(r *rapid.T) { write(port.Draw(r, "port"), small.Draw(r, "value")) },
			"control": func(r *rapid.T) { write(Control, word.Draw(r, "word")) },
			"gate":    func(r *rapid.T) { write(SystemControl, rapid.ByteRange(0, 15).Draw(r, "value")) },
			"pulse":   func(*rapid.T) { pass(1) },
			"pulses":  func(r *rapid.T) { pass(rapid.IntRange(0, 12).Draw(r, "pulses")) },
			"jump":    func(r *rapid.T) { pass(rapid.IntRange(0, 150_000).Draw(r, "pulses")) },
			"read": func(r *rapid.T) {
				at := port.Draw(r, "port")
				if got, want := b.read(at), m.read(at); got != want {
					r.Fatalf("port %#x reads %#02x, the model %#02x", at, got, want)
				}
			},
			"next": func(r *rapid.T) {
				// The longest way to a rise is a whole period of mode 3 after the pulse that loads it.
				c := m.c[0]
				c.status, c.latched, c.written = slices.Clone(c.status), slices.Clone(c.latched), slices.Clone(c.written)
				n := 0
				for c.rises == 0 && n <= 1<<17+2 {
					c.pulse()
					n++
				}
				at, ok := b.Next(b.now())
				if ok != (c.rises > 0) || ok && at != when(b.clk+uint64(n)) {
					r.Fatalf("next rise at pulse %d, %v; the model's after %d, %v", pulses(at)-b.clk, ok, n, c.rises > 0)
				}
			},
			"advance": func(r *rapid.T) {
				if got := b.Advance(b.now()); got != uint64(m.c[0].rises) {
					r.Fatalf("%d rises, the model's %d", got, m.c[0].rises)
				}
				m.c[0].rises = 0
			},
			"": func(r *rapid.T) {
				if got := b.OUT0(b.now()); got != m.c[0].out {
					r.Fatalf("OUT 0 %v, the model's %v", got, m.c[0].out)
				}
				if got, want := b.read(SystemControl), m.read(SystemControl); got != want {
					r.Fatalf("port 61 reads %#02x, the model %#02x", got, want)
				}
			},
		})
	})
}
