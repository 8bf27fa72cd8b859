package lapic

import (
	"math"
	"testing"
)

func TestOneShot(t *testing.T) {
	b := running(t)
	b.put(0x320, 0x40)
	b.put(0x3e0, 0xb) // by 1
	b.put(0x380, 1000)
	b.want("TCCR at the start", b.get(0x390), uint32(1000))
	if at, ok := b.Next(); at != b.clock.now+1000 || !ok {
		t.Errorf("next at %d, %v", at, ok)
	}
	b.want("sent", b.advance(999), false)
	b.want("TCCR", b.get(0x390), uint32(1))
	b.want("sent", b.advance(1), true)
	b.accept(0x40)
	b.want("TCCR", b.get(0x390), uint32(0))
	b.want("TICR", b.get(0x380), uint32(1000))
	if _, ok := b.Next(); ok || b.advance(1e9) {
		t.Error("a one-shot timer goes on")
	}
	b.put(0x380, 1000)
	b.put(0x380, 0)
	if _, ok := b.Next(); ok || b.advance(1e9) {
		t.Error("a timer that was stopped goes on")
	}
}

// TestDivide: TDCR's encoding, and a change while the count runs.
func TestDivide(t *testing.T) {
	for tdcr, by := range map[uint32]int64{0: 2, 1: 4, 2: 8, 3: 16, 8: 32, 9: 64, 10: 128, 11: 1} {
		b := running(t)
		b.put(0x320, 0x40)
		b.put(0x3e0, tdcr)
		b.put(0x380, 100)
		at, _ := b.Next()
		b.want("time", at-b.clock.now, 100*by)
		b.advance(40 * by)
		b.want("TCCR", b.get(0x390), uint32(60))
		b.put(0x3e0, 0xb)
		b.want("TCCR with a new divisor", b.get(0x390), uint32(60))
		at, _ = b.Next()
		b.want("time", at-b.clock.now, int64(60))
	}
}

// TestPeriodic: it does not drift, and a late host gets one interrupt.
func TestPeriodic(t *testing.T) {
	b := running(t)
	start := b.clock.now
	b.put(0x320, 0x20040)
	b.put(0x3e0, 0xb)
	b.put(0x380, 1_000_000)
	for i := range int64(3) {
		b.want("sent", b.advance(1_000_000), true)
		b.accept(0x40)
		b.put(0xb0, 0)
		at, _ := b.Next()
		b.want("next", at-start, (i+2)*1_000_000)
	}
	b.want("sent", b.advance(5_300_000), true)
	at, _ := b.Next()
	b.want("next", at-start, int64(9_000_000))
	b.want("TCCR", b.get(0x390), uint32(700_000))
	b.want("sent", b.Expire(), false)
	s := b.Stats()
	b.want("missed", s.TimerMissed, uint64(4))
	b.want("expired", s.TimerExpired, uint64(4))
	b.want("account", s.Vectors[0], VectorStats{Vector: 0x40, Raised: 4, Delivered: 3, Ended: 3})
}

// TestMinPeriod: a guest cannot make the host spin.
func TestMinPeriod(t *testing.T) {
	b := running(t)
	b.put(0x320, 0x20040)
	b.put(0x3e0, 0xb)
	b.put(0x380, 1)
	for range 5 {
		at, ok := b.Next()
		if !ok || at != b.clock.now+MinPeriod {
			t.Fatalf("next in %d ns", at-b.clock.now)
		}
		b.want("TCCR", b.get(0x390), uint32(1))
		b.want("sent", b.advance(MinPeriod), true)
	}
	b.want("clamped", b.Stats().TimerClamped, uint64(1))
	// By way of the mode or of the divisor, it does not get below either.
	b.put(0x380, 0)
	b.put(0x320, 0x40)
	b.put(0x380, 1)
	b.put(0x320, 0x20040)
	b.advance(1)
	at, _ := b.Next()
	b.want("next", at-b.clock.now, int64(MinPeriod))
	b.put(0x3e0, 0)
	at, _ = b.Next()
	b.want("next", at-b.clock.now, int64(MinPeriod))
}

// TestTimerAfterAges: a host that was away for a century does not count periods one by one.
func TestTimerAfterAges(t *testing.T) {
	b := running(t)
	b.put(0x320, 0x20040)
	b.put(0x380, 1)
	b.want("sent", b.advance(100*365*24*3600*1e9), true)
	if at, _ := b.Next(); at <= b.clock.now || at > b.clock.now+MinPeriod {
		t.Errorf("next in %d ns", at-b.clock.now)
	}
}

// TestMaskedTimer: it counts, but nobody has to wake for it.
func TestMaskedTimer(t *testing.T) {
	b := running(t)
	b.put(0x320, 0x30040)
	b.put(0x3e0, 0xb)
	b.put(0x380, 1_000_000)
	if _, ok := b.Next(); ok {
		t.Error("a masked timer wants to be woken for")
	}
	b.want("sent", b.advance(2_400_000), false)
	b.want("TCCR", b.get(0x390), uint32(600_000))
	b.clock.now += 700_000
	b.put(0x320, 0x20040) // what happened before is gone
	b.want("pending", b.pending(), -1)
	b.want("sent", b.advance(900_000), true)
	b.want("missed", b.Stats().TimerMissed, uint64(0))
}

// TestModeChange: the count goes on between one-shot and periodic mode, and dies with TSC-deadline mode.
func TestModeChange(t *testing.T) {
	b := running(t)
	b.put(0x3e0, 0xb)
	b.put(0x320, 0x40)
	b.put(0x380, 1_000_000)
	b.advance(400_000)
	b.put(0x320, 0x20040)
	b.want("TCCR", b.get(0x390), uint32(600_000))
	b.want("sent", b.advance(600_000), true)
	b.want("sent", b.advance(1_000_000), true)
	b.put(0x320, 0x40)
	b.want("sent", b.advance(1_000_000), true)
	b.want("sent", b.advance(1_000_000), false)
	b.put(0x380, 1_000_000)
	b.put(0x320, 0x40040)
	b.want("TCCR", b.get(0x390), uint32(0))
	b.put(0x380, 7)
	b.want("TICR in TSC-deadline mode", b.get(0x380), uint32(0))
	if err := b.WriteMSR(0x6e0, b.clock.TSC()+3000); err != nil {
		t.Fatal(err)
	}
	b.put(0x320, 0x60040) // reserved
	if v, _ := b.ReadMSR(0x6e0); v != 0 || b.advance(1e9) {
		t.Error("the timer is not disarmed by a change of mode")
	}
}

func TestTSCDeadline(t *testing.T) {
	b := running(t)
	read := func() uint64 {
		v, err := b.ReadMSR(0x6e0)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	write := func(v uint64) {
		if err := b.WriteMSR(0x6e0, v); err != nil {
			t.Fatal(err)
		}
	}
	write(1)
	b.want("deadline in another mode", read(), uint64(0))
	b.put(0x320, 0x40040)
	at := b.clock.TSC() + 3001
	write(at)
	b.want("deadline", read(), at)
	if next, ok := b.Next(); next != b.clock.now+1001 || !ok {
		t.Errorf("next in %d ns, %v", next-b.clock.now, ok)
	}
	b.want("sent", b.advance(1000), false)
	b.want("sent", b.advance(1), true)
	b.accept(0x40)
	b.put(0xb0, 0)
	b.want("deadline", read(), uint64(0))
	write(1)
	b.accept(0x40)
	b.put(0xb0, 0)
	write(b.clock.TSC() + 10)
	write(0)
	b.want("sent", b.advance(1000), false)
	write(math.MaxUint64)
	if next, ok := b.Next(); !ok || next <= b.clock.now {
		t.Errorf("next at %d, %v", next, ok)
	}
	b.put(0x320, 0x50040)
	write(b.clock.TSC() + 3)
	b.clock.now += 10
	b.want("a masked deadline that has passed", read(), uint64(0))
	b.want("pending", b.pending(), -1)
	none := New(Config{BSP: true})
	if _, err := none.ReadMSR(0x6e0); err != ErrGP || none.WriteMSR(0x6e0, 1) != ErrGP {
		t.Error("IA32_TSC_DEADLINE does not fault without the mode")
	}
	none.Write(0x320, []byte{0xff, 0xff, 0xff, 0xff})
	var p [4]byte
	if none.Read(0x320, p[:]); p != [4]byte{0xff, 0, 3, 0} {
		t.Errorf("LVT timer without the mode: %x", p)
	}
	if err := none.WriteMSR(0x1b, 0xfee00d00); err != nil || none.WriteMSR(0x832, 1<<18) != ErrGP || none.WriteMSR(0x832, 1<<17) != nil {
		t.Error("bit 18 of LVT timer is not reserved without the mode")
	}
}

// TestLater: nanoseconds for ticks, at the ends of the range.
func TestLater(t *testing.T) {
	for _, c := range []struct {
		now       int64
		ticks, hz uint64
		want      int64
	}{
		{0, 0, 1, 0}, {5, 1, 3_000_000_000, 6}, {5, 3, 3_000_000_000, 6}, {5, 4, 3_000_000_000, 7}, {0, 2, 1, 2_000_000_000},
		{0, math.MaxUint64, 1, math.MaxInt64}, {math.MaxInt64, 1, 1, math.MaxInt64}, {0, math.MaxUint64, math.MaxUint64, 1_000_000_000},
	} {
		if got := later(c.now, c.ticks, c.hz); got != c.want {
			t.Errorf("%d + %d/%d is %d, want %d", c.now, c.ticks, c.hz, got, c.want)
		}
	}
}

// TestTimerDiesWithTheAPIC: INIT, and both ways to disable it.
func TestTimerDiesWithTheAPIC(t *testing.T) {
	for name, kill := range map[string]func(*bench){
		"INIT":              func(b *bench) { b.Descriptor().PostINIT(); b.Sync() },
		"software disabled": func(b *bench) { b.put(0xf0, 0xff) },
		"hardware disabled": func(b *bench) { _ = b.WriteMSR(0x1b, 0xfee00100) },
	} {
		b := running(t)
		b.put(0x320, 0x20040)
		b.put(0x380, 1_000_000)
		kill(b)
		if _, ok := b.Next(); ok || b.advance(10_000_000) || b.pending() >= 0 {
			t.Errorf("%s: the timer lives", name)
		}
	}
}
