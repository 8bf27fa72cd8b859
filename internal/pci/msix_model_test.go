package pci_test

import (
	"encoding/binary"
	"maps"
	"testing"

	"doorbell/internal/pci"
	"doorbell/internal/pci/pcitest"

	"pgregory.net/rapid"
)

const modelVectors = 3

// modelVector is a vector as the specification tells its story: a message that was read when it was unmasked, and a pending bit.
type modelVector struct {
	entry     [16]byte
	live      bool
	latched   pci.Message
	pending   bool
	delivered map[pci.Message]uint64
}

// msixModel drives a real MSIX and an obvious one with the same operations and compares all that a guest can see.
type msixModel struct {
	tb               pcitest.TB
	irqs             *pcitest.Interrupts
	bus              *bus
	real             *pci.MSIX
	enabled, fmasked bool
	v                [modelVectors]modelVector
}

func newMSIXModel(tb pcitest.TB) *msixModel {
	b := newBus(tb)
	m := &msixModel{tb: tb, bus: b, irqs: b.irqs, real: b.msix}
	for i := range m.v {
		m.v[i] = modelVector{delivered: map[pci.Message]uint64{}}
		m.v[i].entry[12] = 1
	}
	return m
}

// settle applies mask bits; only the vectors whose control was written are looked at.
func (m *msixModel) settle(vectors ...int) {
	for _, n := range vectors {
		v := &m.v[n]
		want := m.enabled && !m.fmasked && v.entry[12]&1 == 0
		msg := pci.Message{Address: binary.LittleEndian.Uint64(v.entry[0:]), Data: binary.LittleEndian.Uint32(v.entry[8:])}
		_, valid := msg.Interrupt()
		switch {
		case !want:
			v.live = false
		case !v.live && valid:
			v.live, v.latched = true, msg
			if v.pending {
				v.pending = false
				v.delivered[msg]++
			}
		}
	}
}

func (m *msixModel) control(enable, fmask bool) {
	high := byte(0)
	if enable {
		high |= 0x80
	}
	if fmask {
		high |= 0x40
	}
	ecam(m.bus.Segment, 1, 0x48+3, []byte{high}, true)
	if enable && !m.enabled {
		for i := range m.v {
			m.v[i].pending = false
		}
	}
	m.enabled, m.fmasked = enable, fmask
	m.settle(0, 1, 2)
}

func (m *msixModel) write(off uint64, p []byte) {
	m.real.WriteTable(off, p)
	if n := uint64(len(p)); n != 4 && n != 8 || off%n != 0 || off >= 16*modelVectors {
		return
	}
	v := &m.v[off/16]
	copy(v.entry[off%16:], p)
	v.entry[0] &^= 3
	v.entry[12] &= 1
	clear(v.entry[13:])
	if (off+uint64(len(p)))%16 == 0 {
		m.settle(int(off / 16))
	}
}

func (m *msixModel) fire(n int, byKernel bool) {
	if byKernel {
		m.real.Vector(n).Fire()
	} else {
		m.real.Fire(n)
	}
	if v := &m.v[n]; v.live {
		v.delivered[v.latched]++
	} else {
		v.pending = true
	}
}

func (m *msixModel) reset() {
	m.bus.Reset()
	m.enabled, m.fmasked = false, false
	for i := range m.v {
		m.v[i].live, m.v[i].pending, m.v[i].entry = false, false, [16]byte{12: 1}
	}
}

// readPBA may be done at any time and must not change anything.
func (m *msixModel) readPBA(off uint64, width int) {
	var want [8]byte
	for i := range m.v {
		if m.enabled && m.v[i].pending {
			want[0] |= 1 << i
		}
	}
	got := make([]byte, width)
	m.real.ReadPBA(off, got)
	for i := range got {
		var w byte
		if at := off + uint64(i); at < 8 {
			w = want[at]
		}
		if got[i] != w {
			m.tb.Errorf("pending bits at %#x+%d: % x, want % x", off, width, got, want)
			return
		}
	}
}

func (m *msixModel) check() {
	gsis := 0
	for n := range m.v {
		var got [16]byte
		m.real.ReadTable(uint64(n)*16, got[:])
		if got != m.v[n].entry {
			m.tb.Errorf("entry %d reads % x, want % x", n, got, m.v[n].entry)
		}
		if d := m.real.Vector(n).(*pcitest.Vector).Delivered(); !maps.Equal(d, m.v[n].delivered) {
			m.tb.Errorf("vector %d delivered %v, want %v", n, d, m.v[n].delivered)
		}
		if m.v[n].live {
			gsis++
		}
	}
	if have := m.irqs.GSIs(); have < gsis || !m.enabled && have != 0 {
		m.tb.Errorf("%d GSIs are taken with %d vectors live, enabled %v", have, gsis, m.enabled)
	}
}

// step does one operation that four bytes choose.
func (m *msixModel) step(op, a, b, c byte) {
	n := int(a) % modelVectors
	switch op % 7 {
	case 0:
		m.fire(n, b&1 != 0)
	case 1:
		m.control(a&1 != 0, a&2 != 0)
	case 2: // the mask bit, as an operating system writes it
		m.write(uint64(n)*16+12, []byte{b & 1, 0, 0, 0})
	case 3: // a message of the local APICs
		m.write(uint64(n)*16, []byte{0, b & 0xf0, 0xe0 | c&0xf, 0xfe, 0, 0, 0, 0})
		m.write(uint64(n)*16+8, []byte{c, b & 1, 0, 0})
	case 4: // anything anywhere
		p := []byte{b, c, b ^ c, ^b, c, b, ^c, b}[:1<<(c&3)]
		m.write(uint64(a), p)
	case 5:
		m.readPBA(uint64(a&15), 1<<(b&3))
	case 6:
		if a == 0xff {
			m.reset()
		}
	}
	m.check()
}

func TestMSIXAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newMSIXModel(t)
		for _, op := range rapid.SliceOfN(rapid.Uint32(), 0, 60).Draw(t, "operations") {
			m.step(byte(op), byte(op>>8), byte(op>>16), byte(op>>24))
		}
	})
}

func FuzzMSIX(f *testing.F) {
	f.Add([]byte{})
	// Enabled, routed, unmasked, fired; masked, fired by the kernel twice, unmasked.
	f.Add([]byte{1, 1, 0, 0, 3, 0, 0x10, 0x30, 2, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 5, 0, 0, 0, 2, 0, 0, 0})
	// The same by the function mask.
	f.Add([]byte{3, 1, 0x10, 0x30, 2, 1, 0, 0, 1, 3, 0, 0, 0, 1, 0, 0, 5, 0, 3, 0, 1, 1, 0, 0})
	// All ones, in quadwords and doublewords.
	f.Add([]byte{1, 1, 0, 0, 4, 0, 0xff, 0xff, 4, 8, 0xff, 0xff, 4, 16, 0xff, 0xff, 4, 24, 0xff, 0xff, 4, 12, 0xfe, 0xfe, 0, 0, 0, 0})
	// Odd widths and places.
	f.Add([]byte{4, 1, 0, 0, 4, 2, 0, 1, 4, 47, 0, 3, 4, 200, 0, 3, 5, 15, 3, 0, 6, 0xff, 0, 0})
	f.Fuzz(func(t *testing.T, ops []byte) {
		m := newMSIXModel(t)
		for ; len(ops) >= 4; ops = ops[4:] {
			m.step(ops[0], ops[1], ops[2], ops[3])
		}
		if err := m.real.Close(); err != nil {
			t.Fatal(err)
		}
		if n := m.irqs.Vectors(); n != 0 {
			t.Fatalf("%d vectors are left", n)
		}
	})
}
