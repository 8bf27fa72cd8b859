package uart

import (
	"bytes"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// model is the port once more, slow and obvious: slices, and every output
// computed from scratch after every access.
type model struct {
	ier, fcr, lcr, mcr, scr, dll, dlm byte

	fifo []byte // what the guest can read
	wire []byte // what Input has sent beyond that
	sent []byte // what the guest has transmitted
	last byte   // what an empty RBR reads

	overrun, thre bool
	lines, deltas byte
	load          int // bytes in the FIFO load being written
	lsrReads      int // reads of LSR since any other access, up to 64

	pin   bool
	edges int
}

func (m *model) depth() int {
	if m.fcr&1 != 0 {
		return 16
	}
	return 1
}

// causes lists the pending interrupts as IIR values, highest first.
func (m *model) causes() []byte {
	var c []byte
	if m.ier&4 != 0 && m.overrun {
		c = append(c, 0x6)
	}
	if m.ier&1 != 0 && len(m.fifo) > 0 {
		trigger := map[byte]int{0x00: 1, 0x40: 4, 0x80: 8, 0xc0: 14}[m.fcr&0xc0]
		if m.depth() == 1 || len(m.fifo) >= trigger {
			c = append(c, 0x4)
		} else {
			c = append(c, 0xc)
		}
	}
	if m.ier&2 != 0 && m.thre {
		c = append(c, 0x2)
	}
	if m.ier&8 != 0 && m.deltas != 0 {
		c = append(c, 0x0)
	}
	return c
}

// settle lets the wire deliver and the line follow.
func (m *model) settle() {
	for m.mcr&0x10 == 0 && m.mcr&8 != 0 && m.ier&1 != 0 && len(m.wire) > 0 && len(m.fifo) < m.depth() {
		m.fifo = append(m.fifo, m.wire[0])
		m.wire = m.wire[1:]
	}
	pin := len(m.causes()) > 0 && m.mcr&8 != 0 && m.mcr&0x10 == 0
	if pin && !m.pin {
		m.edges++
	}
	m.pin = pin
}

func (m *model) setLines() {
	lines := byte(0xb)
	if m.mcr&0x10 != 0 {
		// CTS DSR RI DCD from RTS DTR OUT1 OUT2.
		lines = m.mcr>>1&1 | m.mcr<<1&2 | m.mcr&0xc
	}
	for bit := range 4 {
		was, is := m.lines>>bit&1, lines>>bit&1
		if was != is && (bit != 2 || was == 1) {
			m.deltas |= 1 << bit
		}
	}
	m.lines = lines
}

func (m *model) read(off uint64) (v byte) {
	defer m.settle()
	reads := m.lsrReads + 1
	m.lsrReads = 0
	m.load = 0
	dlab := m.lcr&0x80 != 0
	switch {
	case off == 0 && dlab:
		return m.dll
	case off == 1 && dlab:
		return m.dlm
	case off == 0:
		if len(m.fifo) > 0 {
			m.last = m.fifo[0]
			m.fifo = m.fifo[1:]
		}
		return m.last
	case off == 1:
		return m.ier
	case off == 2:
		v = 1
		if c := m.causes(); len(c) > 0 {
			v = c[0]
		}
		if v == 2 {
			m.thre = false
		}
		if m.fcr&1 != 0 {
			v |= 0xc0
		}
		return v
	case off == 3:
		return m.lcr
	case off == 4:
		return m.mcr
	case off == 5:
		m.lsrReads = min(reads, 64)
		if reads >= 64 && m.mcr&0x10 == 0 && len(m.fifo) == 0 && len(m.wire) > 0 {
			m.fifo = append(m.fifo, m.wire[0])
			m.wire = m.wire[1:]
		}
		v = 0x60
		if len(m.fifo) > 0 {
			v |= 1
		}
		if m.overrun {
			v |= 2
		}
		m.overrun = false
		return v
	case off == 6:
		v = m.lines<<4 | m.deltas
		m.deltas = 0
		return v
	case off == 7:
		return m.scr
	}
	return 0xff
}

func (m *model) write(off uint64, v byte) {
	defer m.settle()
	m.lsrReads = 0
	dlab := m.lcr&0x80 != 0
	if off == 0 && !dlab {
		if m.load%m.depth() == 0 {
			m.thre = false
			m.settle()
		}
		m.load++
		switch {
		case m.mcr&0x10 == 0:
			m.sent = append(m.sent, v)
		case len(m.fifo) < m.depth():
			m.fifo = append(m.fifo, v)
		default:
			m.overrun = true
			if m.depth() == 1 {
				m.fifo[0] = v
			}
		}
		m.thre = true
		return
	}
	m.load = 0
	switch {
	case off == 0:
		m.dll = v
	case off == 1 && dlab:
		m.dlm = v
	case off == 1:
		if m.ier&2 == 0 && v&2 != 0 {
			m.thre = true
		}
		m.ier = v & 0xf
	case off == 2:
		if v&1 != m.fcr&1 && v&3 != 3 && m.mcr&0x10 == 0 {
			m.wire = append(slices.Clone(m.fifo), m.wire...)
		}
		if v&1 != m.fcr&1 || v&3 == 3 {
			m.fifo = nil
		}
		m.fcr = 0
		if v&1 != 0 {
			m.fcr = v
		}
	case off == 3:
		m.lcr = v
	case off == 4:
		m.mcr = v & 0x1f
		m.setLines()
	case off == 7:
		m.scr = v
	}
}

// TestAgainstModel drives both with the same accesses and inputs.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		var out bytes.Buffer
		line := new(edges)
		u := New(Config{Line: line, Output: &out})
		defer u.Abort()
		m := &model{lines: 0xb}
		// Registers that open the interesting states come up more often.
		offset := rapid.SampledFrom([]uint64{0, 0, 0, 1, 1, 2, 2, 3, 4, 4, 5, 5, 6, 7})
		r.Repeat(map[string]func(*rapid.T){
			"read": func(r *rapid.T) {
				off := offset.Draw(r, "off")
				got, want := []byte{0}, m.read(off)
				if u.Read(off, got); got[0] != want {
					r.Fatalf("%s reads %#02x, the model %#02x", u.RegisterName(off, false), got[0], want)
				}
			},
			"write": func(r *rapid.T) {
				off := offset.Draw(r, "off")
				v := rapid.Byte().Draw(r, "value")
				if off == regLCR {
					v &= rapid.SampledFrom([]byte{0x7f, 0x7f, 0xff}).Draw(r, "mask")
				}
				m.write(off, v)
				u.Write(off, []byte{v})
			},
			"send": func(r *rapid.T) {
				for _, v := range rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(r, "bytes") {
					m.write(regTHR, v)
					u.Write(regTHR, []byte{v})
				}
			},
			"poll": func(r *rapid.T) {
				for range rapid.IntRange(1, 130).Draw(r, "reads") {
					got, want := []byte{0}, m.read(regLSR)
					if u.Read(regLSR, got); got[0] != want {
						r.Fatalf("LSR reads %#02x, the model %#02x", got[0], want)
					}
				}
			},
			"input": func(r *rapid.T) {
				p := rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(r, "bytes")
				p = p[:max(min(len(p), backlogSize-len(m.wire)), 0)]
				if n, err := u.Input(p); n != len(p) || err != nil {
					r.Fatalf("Input: %d of %d, %v", n, len(p), err)
				}
				m.wire = append(m.wire, p...)
				m.settle()
			},
			"": func(r *rapid.T) {
				if line.n != m.edges {
					r.Fatalf("the line rose %d times, the model's %d times", line.n, m.edges)
				}
			},
		})
		if err := u.Close(soon(t)); err != nil {
			r.Fatal(err)
		}
		if !bytes.Equal(out.Bytes(), m.sent) {
			r.Fatalf("sent % x, the model % x", out.Bytes(), m.sent)
		}
	})
}
