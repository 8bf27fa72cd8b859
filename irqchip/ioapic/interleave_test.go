package ioapic

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The tests here place what another thread does at the one moment that a single thread can be caught at: the message is on its way.

// TestEOIOvertakesDelivery: the processor is done before the sender returns. Remote IRR must not stay.
func TestEOIOvertakesDelivery(t *testing.T) {
	b := newBench(t, Config{})
	b.program(16, level|0x41, 0)
	b.during = func(Message) {
		b.during = nil
		b.SetPin(16, false)
		b.EOI(0x41)
	}
	b.sends("rise", func() { b.SetPin(16, true) }, 0x41)
	b.want("at rest", b.low(16), level|0x41)
	b.during = func(Message) {
		b.during = nil
		b.EOI(0x41)
	}
	b.sends("EOI with the line still active", func() { b.SetPin(16, true) }, 0x41, 0x41)
	b.want("in service", b.low(16), level|remoteIRR|0x41)
}

// TestRefusedMessageIsTakenBack: what happens to an entry while its message is refused.
func TestRefusedMessageIsTakenBack(t *testing.T) {
	for _, c := range []struct {
		what   string
		during func(b *bench)
		sent   []uint8 // destinations
		after  uint32
	}{
		{"nothing", func(*bench) {}, []uint8{9}, level | delivs | 0x41},
		{"the destination changes", func(b *bench) { b.set(0x31, 1<<24) }, []uint8{9, 1}, level | remoteIRR | 0x41},
		{"the destination changes to nobody again", func(b *bench) { b.set(0x31, 8<<24) }, []uint8{9, 8}, level | delivs | 0x41},
		{"somebody comes", func(b *bench) { b.nobody[9] = false; b.Redeliver(16) }, []uint8{9, 9}, level | remoteIRR | 0x41},
		{"the entry is masked", func(b *bench) { b.set(0x30, masked|level|0x41) }, []uint8{9}, masked | level | 0x41},
		{"the entry becomes edge-triggered", func(b *bench) { b.set(0x30, 0x41) }, []uint8{9}, 0x41},
		{"an EOI finds the line active", func(b *bench) { b.nobody[9] = false; b.EOI(0x41) }, []uint8{9, 9}, level | remoteIRR | 0x41},
		{"an EOI finds the line quiet", func(b *bench) { b.SetPin(16, false); b.EOI(0x41) }, []uint8{9}, level | 0x41},
		{"the line falls", func(b *bench) { b.SetPin(16, false) }, []uint8{9}, level | 0x41},
	} {
		t.Run(c.what, func(t *testing.T) {
			b := newBench(t, Config{})
			b.nobody[8], b.nobody[9] = true, true
			b.program(16, level|0x41, 9)
			b.during = func(Message) {
				b.during = nil
				c.during(b)
			}
			b.SetPin(16, true)
			var got []uint8
			for _, m := range b.sent {
				got = append(got, m.Dest)
			}
			if d := cmp.Diff(c.sent, got); d != "" {
				t.Error(d)
			}
			b.want("the entry", b.low(16), c.after)
		})
	}
}

// TestEntryThatNeverRests: a guest rewrites the entry whenever its message is refused. The sender gives up after a few, and leaves the
// interrupt to Later.
func TestEntryThatNeverRests(t *testing.T) {
	b := newBench(t, Config{})
	b.nobody[8], b.nobody[9] = true, true
	b.program(16, level|0x41, 9)
	b.during = func(m Message) { b.set(0x31, uint32(m.Dest^1)<<24) }
	b.SetPin(16, true)
	if len(b.sent) != maxSends || len(b.later) != 1 {
		t.Fatalf("%d messages, %d times later", len(b.sent), len(b.later))
	}
	b.during = nil
	b.nobody[8], b.nobody[9] = false, false
	b.sends("after the pause", func() { b.Redeliver(16) }, 0x41)
}
