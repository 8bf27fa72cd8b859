package lapic

import "encoding/binary"

// clock is a time that the test moves. Its TSC runs at 3 GHz.
type clock struct{ now int64 }

const testTSCHz = 3_000_000_000

func (c *clock) Now() int64  { return c.now }
func (c *clock) TSC() uint64 { return uint64(c.now) * 3 }

// outbox remembers what an APIC sends.
type outbox []Message

func (o *outbox) Send(m Message) { *o = append(*o, m) }

// tb is what testing's and rapid's T have in common.
type tb interface {
	Helper()
	Errorf(format string, args ...any)
	Fatal(args ...any)
}

// bench is an APIC with everything around it.
type bench struct {
	*APIC
	t     tb
	clock *clock
	out   *outbox
	eois  *[]uint8
}

func newBench(t tb, cfg Config) *bench {
	b := &bench{t: t, clock: &clock{now: 1000}, out: new(outbox), eois: new([]uint8)}
	cfg.Clock, cfg.TSCHz, cfg.Out = b.clock, testTSCHz, b.out
	cfg.EOI = func(v uint8) { *b.eois = append(*b.eois, v) }
	b.APIC = New(cfg)
	return b
}

// running is a bench with an APIC of the bootstrap processor that software has enabled.
func running(t tb) *bench {
	b := newBench(t, Config{BSP: true})
	b.put(0xf0, 0x1ff)
	return b
}

// put writes a register of the page.
func (b *bench) put(off uint64, v uint32) {
	b.Write(off, binary.LittleEndian.AppendUint32(nil, v))
}

// get reads a register of the page.
func (b *bench) get(off uint64) uint32 {
	var p [4]byte
	b.Read(off, p[:])
	return binary.LittleEndian.Uint32(p[:])
}

func (b *bench) want(what string, got, want any) {
	b.t.Helper()
	if got != want {
		b.t.Errorf("%s is %#x, want %#x", what, got, want)
	}
}

// arrive is a vector posted by somebody and taken by the owner.
func (b *bench) arrive(vector uint8, level bool) {
	b.Descriptor().Post(vector, level)
	b.Sync()
}

// pending is Pending with -1 for nothing.
func (b *bench) pending() int {
	if v, ok := b.Pending(); ok {
		return v
	}
	return -1
}

// accept acknowledges and expects a vector.
func (b *bench) accept(want uint8) {
	b.t.Helper()
	if v, real := b.Accept(); v != want || !real {
		b.t.Errorf("acknowledged %#x (real: %v), want %#x", v, real, want)
	}
}

// errors writes ESR and reads it.
func (b *bench) errors() uint32 {
	b.put(0x280, 0)
	return b.get(0x280)
}

// advance lets time pass.
func (b *bench) advance(ns int64) bool {
	b.clock.now += ns
	return b.Expire()
}

// x2 switches to x2APIC mode.
func (b *bench) x2() {
	b.t.Helper()
	v, err := b.ReadMSR(0x1b)
	if err == nil {
		err = b.WriteMSR(0x1b, v|1<<10)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}
