package ioapic

import (
	"testing"

	"doorbell/internal/pci"
)

// sink takes everything and remembers nothing.
type sink struct{}

func (sink) Deliver(Message) Acceptance { return Delivered }

// newQuick is a chip with an edge-triggered pin 4, vector 34h, and a level-triggered pin 16, vector 41h.
func newQuick(t testing.TB) *IOAPIC {
	t.Helper()
	var c *IOAPIC
	// An owner without patience: a storm is not slowed.
	c, err := New(Config{Output: sink{}, RouteChanged: func(int) {}, Later: func(pin int) { c.Redeliver(pin) }})
	if err != nil {
		t.Fatal(err)
	}
	c.writeRegister(0x18, 0x34)
	c.writeRegister(0x30, level|0x41)
	return c
}

func TestNoAllocation(t *testing.T) {
	c := newQuick(t)
	s, err := c.NewSource(16)
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 8)
	var message pci.Message
	n := byte(0)
	for what, f := range map[string]func(){
		"an edge":              func() { c.SetPin(4, true); c.SetPin(4, false) },
		"a level and its EOI":  func() { s.Set(true); s.Set(false); c.EOI(0x41) },
		"an EOI redelivering":  func() { c.SetPin(16, true); c.EOI(0x41) },
		"Redeliver":            func() { c.Redeliver(16) },
		"a read":               func() { n++; c.Read(uint64(n), p) },
		"a write":              func() { n++; p[0] = n; c.Write(0, p[:4]); c.Write(0x10, p[:4]) },
		"a write to EOI":       func() { n++; p[0] = n; c.Write(0x40, p[:1]) },
		"an entry and its MSI": func() { message, _ = c.RTE(16).MSI() },
		"Reset":                c.Reset,
	} {
		if allocs := testing.AllocsPerRun(1000, f); allocs != 0 {
			t.Errorf("%s: %v allocations", what, allocs)
		}
	}
	if message.Address == 0 {
		t.Error("no MSI")
	}
}

func BenchmarkEdge(b *testing.B) {
	c := newQuick(b)
	b.ReportAllocs()
	for b.Loop() {
		c.SetPin(4, true)
		c.SetPin(4, false)
	}
}

func BenchmarkLevelAndEOI(b *testing.B) {
	c := newQuick(b)
	b.ReportAllocs()
	for b.Loop() {
		c.SetPin(16, true)
		c.SetPin(16, false)
		c.EOI(0x41)
	}
}

func BenchmarkEOIRedelivers(b *testing.B) {
	c := newQuick(b)
	c.SetPin(16, true)
	b.ReportAllocs()
	for b.Loop() {
		c.EOI(0x41)
	}
}

func BenchmarkEOIOfNoPin(b *testing.B) {
	c := newQuick(b)
	b.ReportAllocs()
	for b.Loop() {
		c.EOI(0x77)
	}
}

func BenchmarkReadRTE(b *testing.B) {
	c := newQuick(b)
	c.Write(0, []byte{0x30})
	p := make([]byte, 4)
	b.ReportAllocs()
	for b.Loop() {
		c.Read(0x10, p)
	}
}

func BenchmarkMaskAndUnmask(b *testing.B) {
	c := newQuick(b)
	c.Write(0, []byte{0x30})
	mask, unmask := []byte{0x41, 0x80, 1, 0}, []byte{0x41, 0x80, 0, 0}
	b.ReportAllocs()
	for b.Loop() {
		c.Write(0x10, mask)
		c.Write(0x10, unmask)
	}
}
