package pic

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// modelInput is one input of a chip with all that the chip knows of it.
type modelInput struct {
	high, edge, level, masked, serving, slave bool
}

// modelChip is the 8259A as its data sheet tells it: inputs in a list, priorities as a list that is turned, nothing kept that can be found.
type modelChip struct {
	in     [8]modelInput
	order  []int // highest first
	expect []string
	up     bool // has been through a whole sequence since ICW1
	ltim   bool
	single bool
	head   bool // it is the master
	vector int
	id     int

	aeoi, sfnm, rotate, smm, isr, poll bool
	int                                bool
}

func newModelChip() *modelChip { return &modelChip{order: []int{0, 1, 2, 3, 4, 5, 6, 7}} }

func (c *modelChip) requesting(n int) bool {
	return c.in[n].high && (c.in[n].edge || c.in[n].level || c.ltim)
}

// serve is the input to be served, or -1.
func (c *modelChip) serve() int {
	if !c.up {
		return -1
	}
	for _, n := range c.order {
		i := c.in[n]
		blocks := i.serving && !(c.smm && i.masked)
		if c.requesting(n) && !i.masked && (!blocks || c.sfnm && i.slave && !c.single) {
			return n
		}
		if blocks {
			return -1
		}
	}
	return -1
}

// last gives an input the lowest priority.
func (c *modelChip) last(n int) {
	at := slices.Index(c.order, n) + 1
	c.order = append(slices.Clone(c.order[at:]), c.order[:at]...)
}

// take moves a request into service, and out of it in automatic EOI mode.
func (c *modelChip) take() int {
	n := c.serve()
	if n >= 0 {
		c.in[n].edge = false
		c.in[n].serving = !c.aeoi
		if c.aeoi && c.rotate {
			c.last(n)
		}
	}
	return n
}

func (c *modelChip) drive(n int, high bool) {
	if high != c.in[n].high {
		c.in[n].high, c.in[n].edge = high, high
	}
}

func (c *modelChip) command(v byte) {
	switch {
	case v&0x10 != 0:
		was := *c
		*c = *newModelChip()
		for n := range c.in {
			c.in[n].high, c.in[n].level, c.in[n].slave = was.in[n].high, was.in[n].level, was.in[n].slave
		}
		c.vector, c.id, c.int, c.head = was.vector, 7, was.int, was.head
		c.expect = []string{"ICW2", "ICW3", "ICW4"}
		if c.single = v&2 != 0; c.single {
			c.expect = slices.DeleteFunc(c.expect, func(w string) bool { return w == "ICW3" })
		}
		if v&1 == 0 {
			c.expect = c.expect[:len(c.expect)-1]
		}
		c.ltim = v&8 != 0
	case v&8 != 0:
		c.poll = v&4 != 0
		switch v & 3 {
		case 2:
			c.isr = false
		case 3:
			c.isr = true
		}
		switch v & 0x60 {
		case 0x40:
			c.smm = false
		case 0x60:
			c.smm = true
		}
	default:
		rotate, specific, eoi := v&0x80 != 0, v&0x40 != 0, v&0x20 != 0
		n := int(v & 7)
		if !specific {
			if !eoi {
				c.rotate = rotate
				return
			}
			n = -1
			for _, k := range c.order {
				if c.in[k].serving && !(c.smm && c.in[k].masked) {
					n = k
					break
				}
			}
		}
		if n < 0 {
			return
		}
		if eoi {
			c.in[n].serving = false
		}
		if rotate {
			c.last(n)
		}
	}
}

func (c *modelChip) data(v byte) {
	if len(c.expect) == 0 {
		for n := range c.in {
			c.in[n].masked = v>>n&1 != 0
		}
		return
	}
	switch c.expect[0] {
	case "ICW2":
		c.vector = int(v) / 8 * 8
	case "ICW3":
		c.id = int(v) % 8
		for n := range c.in {
			c.in[n].slave = c.head && v>>n&1 != 0
		}
	case "ICW4":
		c.aeoi, c.sfnm = v&2 != 0, v&16 != 0
	}
	c.expect = c.expect[1:]
	c.up = len(c.expect) == 0
}

func (c *modelChip) collect(bit func(int) bool) (v byte) {
	for n := range c.in {
		if bit(n) {
			v |= 1 << n
		}
	}
	return v
}

func (c *modelChip) read(data bool) byte {
	switch {
	case c.poll:
		c.poll = false
		if n := c.take(); n >= 0 {
			return 0x80 | byte(n)
		}
		return 0
	case data:
		return c.collect(func(n int) bool { return c.in[n].masked })
	case c.isr:
		return c.collect(func(n int) bool { return c.in[n].serving })
	}
	return c.collect(c.requesting)
}

// modelPair is two of them.
type modelPair struct{ master, slave *modelChip }

// settle gives both chips' INT its level; after a mere change of a line it does not fall.
func (m *modelPair) settle(line bool) {
	m.slave.int = line && m.slave.int || m.slave.serve() >= 0
	m.master.drive(2, m.slave.int)
	m.master.int = line && m.master.int || m.master.serve() >= 0
}

func (m *modelPair) acknowledge() byte {
	defer m.settle(false)
	n := m.master.take()
	if n < 0 {
		n = 7
	}
	if m.master.single || !m.master.in[n].slave {
		return byte(m.master.vector + n)
	}
	if m.slave.id != n || m.slave.single {
		return 0xff
	}
	n = m.slave.take()
	if n < 0 {
		n = 7
	}
	m.master.drive(2, false)
	return byte(m.slave.vector + n)
}

func (m *modelPair) access(port uint16, write bool, v byte) byte {
	c := m.master
	if port >= 0xa0 && port <= 0xa1 || port == 0x4d1 {
		c = m.slave
	}
	switch {
	case port >= 0x4d0:
		fixed := map[uint16]byte{0x4d0: 0x07, 0x4d1: 0x21}[port]
		if write {
			for n := range c.in {
				c.in[n].level = (v&^fixed)>>n&1 != 0
			}
			m.settle(false)
		}
		return c.collect(func(n int) bool { return c.in[n].level })
	case write && port&1 == 0:
		c.command(v)
	case write:
		c.data(v)
	case c.poll:
		v = c.read(port&1 != 0)
		if c == m.slave {
			m.master.drive(2, false)
		}
	default:
		return c.read(port&1 != 0)
	}
	m.settle(false)
	return v
}

var allPorts = []uint16{MasterCommand, MasterCommand, MasterData, SlaveCommand, SlaveCommand, SlaveData, MasterELCR, SlaveELCR}

// TestAgainstModel drives both with the same lines, accesses and INTA cycles.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		b := newSilent(t)
		m := &modelPair{newModelChip(), newModelChip()}
		m.master.head = true
		write := func(port uint16, values ...byte) {
			for _, v := range values {
				b.WritePort(port, v)
				m.access(port, true, v)
			}
		}
		initialize := func(r *rapid.T) {
			icw1 := rapid.SampledFrom([]byte{0x11, 0x11, 0x11, 0x10, 0x13, 0x12, 0x19}).Draw(r, "ICW1")
			icw4 := rapid.SampledFrom([]byte{0x01, 0x01, 0x11, 0x03, 0x13}).Draw(r, "ICW4")
			for i, port := range []uint16{MasterCommand, SlaveCommand} {
				write(port, icw1)
				write(port+1, []byte{0x30, 0x38}[i])
				if icw1&2 == 0 {
					write(port+1, []byte{0x04, 0x02}[i])
				}
				if icw1&1 != 0 {
					write(port+1, icw4)
				}
			}
		}
		initialize(r)
		r.Repeat(map[string]func(*rapid.T){
			"line": func(r *rapid.T) {
				irq, level := rapid.IntRange(0, 15).Draw(r, "irq"), rapid.Bool().Draw(r, "level")
				b.SetLine(irq, level)
				if irq != 2 {
					[]*modelChip{m.master, m.slave}[irq/8].drive(irq%8, level)
				}
				m.settle(true)
			},
			"edge": func(r *rapid.T) {
				irq := rapid.SampledFrom([]int{0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}).Draw(r, "irq")
				for _, level := range []bool{false, true} {
					b.SetLine(irq, level)
					[]*modelChip{m.master, m.slave}[irq/8].drive(irq%8, level)
					m.settle(true)
				}
			},
			"inta": func(r *rapid.T) {
				if got, want := b.Acknowledge(), m.acknowledge(); got != want {
					r.Fatalf("vector %#02x, the model's %#02x", got, want)
				}
			},
			"eoi": func(r *rapid.T) {
				write(rapid.SampledFrom([]uint16{MasterCommand, SlaveCommand}).Draw(r, "port"), rapid.SampledFrom([]byte{0x20, 0x20, 0xa0}).Draw(r, "OCW2"))
			},
			"command": func(r *rapid.T) { // OCW2 and OCW3
				write(rapid.SampledFrom([]uint16{MasterCommand, SlaveCommand}).Draw(r, "port"), rapid.Byte().Draw(r, "value")&^0x10)
			},
			"mask": func(r *rapid.T) {
				write(rapid.SampledFrom([]uint16{MasterData, SlaveData}).Draw(r, "port"), rapid.Byte().Draw(r, "a")&rapid.Byte().Draw(r, "b"))
			},
			"write": func(r *rapid.T) {
				write(rapid.SampledFrom(allPorts).Draw(r, "port"), rapid.Byte().Draw(r, "value"))
			},
			"read": func(r *rapid.T) {
				port := rapid.SampledFrom(allPorts).Draw(r, "port")
				if got, want := b.ReadPort(port), m.access(port, false, 0); got != want {
					r.Fatalf("port %#x reads %#02x, the model %#02x", port, got, want)
				}
			},
			"initialize": initialize,
			"": func(r *rapid.T) {
				if b.INTR() != m.master.int || b.out.level != m.master.int {
					r.Fatalf("INTR %v, told %v, the model's %v", b.INTR(), b.out.level, m.master.int)
				}
				for _, c := range []struct {
					real  *chip
					model *modelChip
				}{{&b.master, m.master}, {&b.slave, m.slave}} {
					isr := c.model.collect(func(n int) bool { return c.model.in[n].serving })
					irr := c.model.collect(c.model.requesting)
					if c.real.isr != isr || c.real.irr() != irr || c.real.int != c.model.int {
						r.Fatalf("ISR %08b IRR %08b INT %v, the model's %08b %08b %v", c.real.isr, c.real.irr(), c.real.int, isr, irr, c.model.int)
					}
				}
			},
		})
	})
}
