package ioapic

import (
	"encoding/binary"
	"testing"

	"doorbell/internal/pci"

	"github.com/google/go-cmp/cmp"
)

// apics stands for the local APICs: they remember what they were sent, in one IRR, and answer nobody at some destinations.
type apics struct {
	sent   []Message
	irr    map[uint8]bool
	nobody map[uint8]bool
	// during, if set, is called while a message is on its way. The contract forbids Deliver to call the chip; here it stands for what
	// another thread does at this moment.
	during func(Message)
}

func (a *apics) Deliver(m Message) Acceptance {
	a.sent = append(a.sent, m)
	refused := a.nobody[m.Dest]
	if a.during != nil {
		a.during(m)
	}
	switch {
	case refused:
		return Nobody
	case m.Mode > pci.LowestPriority:
		return Delivered
	case a.irr[m.Vector]:
		return Coalesced
	}
	a.irr[m.Vector] = true
	return Delivered
}

// take is a processor's acknowledgement: it says whether the vector was waiting.
func (a *apics) take(vector uint8) bool {
	was := a.irr[vector]
	delete(a.irr, vector)
	return was
}

// bench is a chip with what is around it, as a test sees it.
type bench struct {
	testing.TB
	*IOAPIC
	apics
	routes, later []int
}

func newBench(t testing.TB, cfg Config) *bench {
	t.Helper()
	b := &bench{TB: t, apics: apics{irr: map[uint8]bool{}, nobody: map[uint8]bool{}}}
	cfg.Output = &b.apics
	if cfg.RouteChanged == nil {
		cfg.RouteChanged = func(pin int) { b.routes = append(b.routes, pin) }
	}
	cfg.Later = func(pin int) { b.later = append(b.later, pin) }
	var err error
	if b.IOAPIC, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) in(off uint64) uint32 {
	var p [4]byte
	b.Read(off, p[:])
	return binary.LittleEndian.Uint32(p[:])
}

func (b *bench) out(off uint64, v uint32) {
	b.Write(off, binary.LittleEndian.AppendUint32(nil, v))
}

// get and set use the register pair, as a guest does.
func (b *bench) get(index uint32) uint32 {
	b.out(0x00, index)
	return b.in(0x10)
}

func (b *bench) set(index, v uint32) {
	b.out(0x00, index)
	b.out(0x10, v)
}

// low and program are a guest's way to an entry: its lower half; and both, the upper one first.
func (b *bench) low(pin int) uint32 { return b.get(0x10 + 2*uint32(pin)) }

func (b *bench) program(pin int, low uint32, dest uint8) {
	b.set(0x11+2*uint32(pin), uint32(dest)<<24)
	b.set(0x10+2*uint32(pin), low)
}

// Bits of an entry's lower half, as the data sheet numbers them.
const (
	lowestPriority = 1 << 8
	logical        = 1 << 11
	delivs         = 1 << 12
	intpol         = 1 << 13
	remoteIRR      = 1 << 14
	level          = 1 << 15
	masked         = 1 << 16
)

func (b *bench) source(pin int) *Source {
	b.Helper()
	s, err := b.NewSource(pin)
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// sends runs f and wants it to send messages with these vectors.
func (b *bench) sends(what string, f func(), vectors ...uint8) {
	b.Helper()
	before := len(b.sent)
	f()
	var got []uint8
	for _, m := range b.sent[before:] {
		got = append(got, m.Vector)
	}
	if d := cmp.Diff(vectors, got); d != "" {
		b.Errorf("%s: vectors sent (-want +got):\n%s", what, d)
	}
}

func (b *bench) want(what string, got, want uint32) {
	b.Helper()
	if got != want {
		b.Errorf("%s: %#x, want %#x", what, got, want)
	}
}
