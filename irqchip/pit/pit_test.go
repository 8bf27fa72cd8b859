package pit

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

// bench is a chip under test with a clock that counts CLK pulses.
type bench struct {
	*PIT
	t   testing.TB
	clk uint64
}

func newBench(t testing.TB) *bench { return &bench{PIT: New(), t: t, clk: 1000} }

func (b *bench) now() uint64 { return when(b.clk) }

func (b *bench) write(port uint16, values ...byte) {
	for _, v := range values {
		b.WritePort(port, v, b.now())
	}
}

func (b *bench) read(port uint16) byte { return b.ReadPort(port, b.now()) }

// word reads a two-byte count.
func (b *bench) word(port uint16) uint16 {
	lsb := b.read(port)
	return uint16(b.read(port))<<8 | uint16(lsb)
}

// gate drives GATE 2.
func (b *bench) gate(level byte) { b.write(SystemControl, level) }

// counter2 programs counter 2 with a one-byte count.
func (b *bench) counter2(mode, count byte) {
	b.write(Control, 2<<6|rwLSB<<rwShift|mode<<modeShift)
	b.write(Counter2, count)
}

// wave wants what OUT 2 and CE's lower byte are now and after each further pulse, written as the data sheet's figures have them: each CE
// with / where OUT is high and _ where it is low.
func (b *bench) wave(want string) {
	b.t.Helper()
	var got []string
	for i := range strings.Fields(want) {
		if i > 0 {
			b.clk++
		}
		out := "_"
		if b.read(SystemControl)&systemOUT2 != 0 {
			out = "/"
		}
		got = append(got, fmt.Sprintf("%s%x", out, b.read(Counter2)))
	}
	if s := strings.Join(got, " "); s != want {
		b.t.Errorf("the wave is\n%s, want\n%s", s, want)
	}
}

// TestWaves has waveforms of each mode, after the data sheet's figures (15 to 20). The first value of a wave is that of the pulse
// before; a wave begins where the last one ended.
func TestWaves(t *testing.T) {
	t.Run("mode 0", func(t *testing.T) {
		b := newBench(t)
		b.gate(1)
		b.counter2(0, 4)
		b.wave("_0 _4 _3 _2 _1 /0 /ff /fe")
	})
	t.Run("mode 0, GATE", func(t *testing.T) {
		b := newBench(t)
		b.gate(1)
		b.counter2(0, 3)
		b.wave("_0 _3 _2")
		b.gate(0)
		b.wave("_2 _2 _2")
		b.gate(1)
		b.wave("_2 _1 /0 /ff")
		b.gate(0)
		b.wave("/ff /ff")
	})
	t.Run("mode 0, new count", func(t *testing.T) {
		b := newBench(t)
		b.gate(1)
		b.counter2(0, 3)
		b.wave("_0 _3 _2 _1")
		b.write(Counter2, 2)
		b.wave("_1 _2 _1 /0 /ff")
		b.write(Counter2, 1)
		b.wave("_ff _1 /0")
	})
	t.Run("mode 0, GATE low at the count", func(t *testing.T) {
		b := newBench(t)
		b.counter2(0, 2)
		b.wave("_0 _2 _2 _2")
		b.gate(1)
		b.wave("_2 _1 /0") // N pulses, not N+1
	})
	t.Run("mode 1", func(t *testing.T) {
		b := newBench(t)
		b.gate(1)
		b.counter2(1, 3)
		b.wave("/0 /0 /0")
		b.gate(0)
		b.gate(1)
		b.wave("/0 _3 _2 _1 /0 /ff")
		b.gate(0)
		b.wave("/ff /fe")
		b.gate(1)
		b.wave("/fe _3 _2")
		b.gate(0)
		b.gate(1)
		b.wave("_2 _3 _2 _1 /0") // retriggered
	})
	t.Run("mode 1, new count", func(t *testing.T) {
		b := newBench(t)
		b.counter2(1, 2)
		b.gate(1)
		b.wave("/0 _2")
		b.write(Counter2, 4)
		b.wave("_2 _1 /0 /ff")
		b.gate(0)
		b.gate(1)
		b.wave("/ff _4 _3 _2 _1 /0")
	})
	t.Run("mode 2", func(t *testing.T) {
		b := newBench(t)
		b.gate(1)
		b.counter2(2, 3)
		b.wave("/0 /3 /2 _1 /3 /2 _1 /3")
	})
	t.Run("mode 2, GATE", func(t *testing.T) {
		b := newBench(t)
		b.gate(1)
		b.counter2(2, 3)
		b.wave("/0 /3 /2")
		b.gate(0)
		b.wave("/2 /2")
		b.gate(1)
		b.wave("/2 /3 /2 _1")
		b.gate(0)
		b.wave("/1 /1") // OUT goes high at once
		b.gate(1)
		b.wave("/1 /3")
	})
	t.Run("mode 2, new count after the trigger", func(t *testing.T) {
		b := newBench(t)
		b.gate(1)
		b.counter2(2, 4)
		b.wave("/0 /4 /3")
		b.gate(0)
		b.gate(1)
		b.write(Counter2, 3)
		b.wave("/3 /3 /2 _1 /3")
	})
	t.Run("mode 2, new count", func(t *testing.T) {
		b := newBench(t)
		b.gate(1)
		b.counter2(2, 4)
		b.wave("/0 /4 /3")
		b.write(Counter2, 5)
		b.wave("/3 /2 _1 /5 /4 /3 /2 _1 /5")
	})
	t.Run("mode 3, even", func(t *testing.T) {
		b := newBench(t)
		b.gate(1)
		b.counter2(3, 4)
		b.wave("/0 /4 /2 _4 _2 /4 /2 _4")
	})
	t.Run("mode 3, odd", func(t *testing.T) {
		b := newBench(t)
		b.gate(1)
		b.counter2(3, 5)
		b.wave("/0 /4 /2 /0 _4 _2 /4 /2 /0 _4")
	})
	t.Run("mode 3, GATE", func(t *testing.T) {
		b := newBench(t)
		b.gate(1)
		b.counter2(3, 4)
		b.wave("/0 /4 /2 _4")
		b.gate(0)
		b.wave("/4 /4")
		b.gate(1)
		b.wave("/4 /4 /2 _4 _2")
	})
	t.Run("mode 3, new count", func(t *testing.T) {
		b := newBench(t)
		b.gate(1)
		b.counter2(3, 4)
		b.wave("/0 /4")
		b.write(Counter2, 6)
		b.wave("/4 /2 _6 _4 _2 /6")
	})
	t.Run("mode 4", func(t *testing.T) {
		b := newBench(t)
		b.gate(1)
		b.counter2(4, 3)
		b.wave("/0 /3 /2 /1 _0 /ff /fe")
	})
	t.Run("mode 4, GATE and new count", func(t *testing.T) {
		b := newBench(t)
		b.counter2(4, 3)
		b.wave("/0 /3 /3")
		b.gate(1)
		b.wave("/3 /2 /1")
		b.write(Counter2, 2)
		b.wave("/1 /2 /1 _0")
		b.gate(0)
		b.wave("_0 /0 /0") // GATE has no effect on OUT
	})
	t.Run("mode 5", func(t *testing.T) {
		b := newBench(t)
		b.counter2(5, 3)
		b.wave("/0 /0 /0")
		b.gate(1)
		b.wave("/0 /3 /2")
		b.gate(0)
		b.wave("/2 /1 _0 /ff")
		b.gate(1)
		b.wave("/ff /3 /2")
		b.gate(0)
		b.gate(1)
		b.wave("/2 /3 /2 /1 _0 /ff")
	})
}

func TestModes6And7(t *testing.T) {
	b := newBench(t)
	b.gate(1)
	b.counter2(6, 3)
	b.wave("/0 /3 /2 _1 /3")
	b.counter2(7, 4)
	b.wave("/3 /4 /2 _4")
	b.write(Control, 0xe8)
	if v := b.read(Counter2); v != 0x1e {
		t.Errorf("status %#02x, want the mode as it was written, 0x1e", v)
	}
}

func TestCountsOfOne(t *testing.T) {
	b := newBench(t)
	b.gate(1)
	b.counter2(0, 1)
	b.wave("_0 _1 /0")
	b.counter2(4, 1)
	b.wave("/0 /1 _0 /ff")
	b.counter2(2, 1)
	b.wave("/ff /2 _1 /2 _1")
	b.counter2(3, 1)
	b.wave("/1 /2 _2 /2 _2")
}

func TestTwoByteCount(t *testing.T) {
	b := newBench(t)
	b.gate(1)
	b.write(Control, 0xb0) // mode 0
	b.write(Counter2, 0x00, 0x02)
	b.clk++
	if v := b.word(Counter2); v != 0x200 {
		t.Errorf("count %#x, want 0x200", v)
	}
	b.clk += 0x200
	if b.read(SystemControl)&systemOUT2 == 0 {
		t.Fatal("OUT is low after the count")
	}
	b.write(Counter2, 0x05)
	if b.read(SystemControl)&systemOUT2 != 0 {
		t.Error("the first byte does not pull OUT low")
	}
	b.clk += 70000
	if v := b.word(Counter2); v != 0 {
		t.Errorf("count %#x: the first byte does not stop mode 0", v)
	}
	b.write(Counter2, 0x00)
	b.clk += 1 + 4
	if v := b.word(Counter2); v != 1 || b.read(SystemControl)&systemOUT2 != 0 {
		t.Errorf("count %d, want 1 and OUT low", v)
	}
}

func TestMSBOnly(t *testing.T) {
	b := newBench(t)
	b.write(Control, 0x24) // counter 0, mode 2
	b.write(Counter0, 0x12)
	b.Advance(b.now())
	b.clk += 1 + 0x100
	if v := b.read(Counter0); v != 0x11 {
		t.Errorf("MSB %#02x, want 0x11", v)
	}
	if at, ok := b.Next(b.now()); !ok || at != when(b.clk+0x1100) {
		t.Errorf("next rise at %d, %v; want %d", at, ok, when(b.clk+0x1100))
	}
}

func TestCounterLatch(t *testing.T) {
	b := newBench(t)
	b.write(Control, 0x34)
	b.write(Counter0, 0, 0) // 65536
	b.clk++
	if v := b.word(Counter0); v != 0 {
		t.Errorf("count %#x, want 65536, which reads as 0", v)
	}
	b.clk += 0x100
	b.write(Control, 0x00)
	b.clk += 0x100
	b.write(Control, 0x00) // ignored: the first has not been read
	if v := b.word(Counter0); v != 0xff00 {
		t.Errorf("latched %#x, want 0xff00", v)
	}
	if v := b.word(Counter0); v != 0xfe00 {
		t.Errorf("count %#x, want CE as it is, 0xfe00", v)
	}
	b.write(Control, 0x00)
	b.write(Control, 0x34) // programming drops what is latched
	b.write(Counter0, 0x34, 0x12)
	b.clk++
	if v := b.word(Counter0); v != 0x1234 {
		t.Errorf("count %#x, want 0x1234", v)
	}
}

// TestInterleaved is the data sheet's example: reads and writes of two-byte counts may be mixed.
func TestInterleaved(t *testing.T) {
	b := newBench(t)
	b.write(Control, 0x34)
	b.write(Counter0, 0x78, 0x56)
	b.clk++
	lsb := b.read(Counter0)
	b.write(Counter0, 0x22)
	msb := b.read(Counter0)
	b.write(Counter0, 0x11)
	if lsb != 0x78 || msb != 0x56 {
		t.Errorf("read %#02x %#02x", msb, lsb)
	}
	b.clk += 0x5678
	if v := b.word(Counter0); v != 0x1122 {
		t.Errorf("count %#x, want 0x1122", v)
	}
}

// TestReadBack latches everything and tries to latch it again, in the manner of the data sheet's example (Figure 13).
func TestReadBack(t *testing.T) {
	b := newBench(t)
	b.gate(1)
	for n, control := range []byte{0x36, 0x54, 0x90} {
		b.write(Control, control)
		b.write(Counter0+uint16(n), 0x10)
		if n == 0 {
			b.write(Counter0, 0x00)
		}
	}
	b.clk += 5
	b.write(Control, 0xc2)                   // count and status of 0
	b.write(Control, 0xe4)                   // status of 1
	b.write(Control, 0xe8)                   // status of 2
	b.write(Control, 2<<6|rwMSB<<rwShift|10) // drops it: programmed anew
	b.write(Control, 0xd8)                   // count of 2, too
	b.write(Control, 0xe8)                   // status of 2
	b.clk += 2
	b.write(Control, 0xc2) // no effect
	b.write(Control, 0xe2) // no effect
	for _, r := range []struct {
		port uint16
		want byte
		what string
	}{
		{Counter0, statusOUT | 0x36, "status"}, {Counter0, 0x08, "latched LSB"}, {Counter0, 0, "latched MSB"}, {Counter0, 0x04, "CE"}, {Counter0, 0, "CE"},
		{Counter1, statusOUT | 0x14, "status"}, {Counter1, 0x0a, "CE"},
		{Counter2, statusOUT | statusNull | 0x2a, "status"}, {Counter2, 0, "latched MSB"},
		{Control, 0xff, "nothing"},
	} {
		if v := b.read(r.port); v != r.want {
			t.Errorf("port %#x: %s reads %#02x, want %#02x", r.port, r.what, v, r.want)
		}
	}
}

func TestNullCount(t *testing.T) {
	b := newBench(t)
	null := func(want bool) {
		t.Helper()
		b.write(Control, 0xe2)
		if v := b.read(Counter0); v&statusNull != 0 != want {
			t.Errorf("NULL COUNT is %v", !want)
		}
	}
	b.write(Control, 0x36)
	null(true)
	b.write(Counter0, 10, 0)
	null(true)
	b.clk++
	null(false)
	b.write(Counter0, 20)
	null(false) // a two-byte count counts with its second byte
	b.write(Counter0, 0)
	null(true)
	b.clk += 4
	null(true)
	b.clk++ // the end of the half-period
	null(false)
	b.write(Control, 0xb0)
	null(false) // another counter's control word
}

func TestBCD(t *testing.T) {
	b := newBench(t)
	b.write(Control, 0x35)
	b.write(Counter0, 0, 0) // 10000
	b.Advance(b.now())
	b.clk += 2
	if v := b.word(Counter0); v != 0x9999 {
		t.Errorf("count %#x, want 9999", v)
	}
	if at, _ := b.Next(b.now()); at != when(b.clk+9999) {
		t.Errorf("next rise after %d ns", at-b.now())
	}
	b.write(Control, 0x31) // mode 0
	b.write(Counter0, 0x34, 0x12)
	b.clk += 1 + 1234 + 2
	if v := b.word(Counter0); v != 0x9998 {
		t.Errorf("count %#x, want 9998 after the wrap", v)
	}
	b.write(Counter0, 0xff, 0xff) // no digits: 15*1111
	b.clk += 1 + 16664
	if b.OUT0(b.now()) {
		t.Error("OUT is high before the count has ended")
	}
	if v := b.word(Counter0); v != 1 {
		t.Errorf("count %#x, want 1", v)
	}
}

// TestPeriodicInterrupt is the timer of a kernel with 100 ticks a second, with a host that wakes up in time, and then late.
func TestPeriodicInterrupt(t *testing.T) {
	const count = 11932
	b := newBench(t)
	b.write(Control, 0x34)
	b.write(Counter0, count&0xff, count>>8)
	b.Advance(b.now()) // the control word's own rise of OUT
	now := b.now()
	for range 100 {
		at, ok := b.Next(now)
		if !ok {
			t.Fatal("no deadline")
		}
		if n := b.Advance(at - 1); n != 0 {
			t.Fatalf("%d rises before the deadline", n)
		}
		if n := b.Advance(at); n != 1 {
			t.Fatalf("%d rises at the deadline", n)
		}
		now = at
	}
	if passed := pulses(now) - b.clk; passed != 100*count+1 {
		t.Errorf("100 periods took %d pulses, want %d", passed, 100*count+1)
	}
	now = when(pulses(now) + 1000*count)
	if n := b.Advance(now); n != 1000 {
		t.Errorf("%d rises in 1000 periods", n)
	}
	if at, _ := b.Next(now); at <= now {
		t.Errorf("the deadline %d is not after %d", at, now)
	}
}

func TestRiseByControlWord(t *testing.T) {
	b := newBench(t)
	if _, ok := b.Next(b.now()); ok || b.OUT0(b.now()) {
		t.Error("the chip does something after power-on")
	}
	b.write(Control, 0x34)
	if at, ok := b.Next(b.now()); !ok || at > b.now() {
		t.Errorf("next rise at %d, %v; want it now", at, ok)
	}
	if n := b.Advance(b.now()); n != 1 || !b.OUT0(b.now()) {
		t.Errorf("%d rises, want the control word's", n)
	}
	if _, ok := b.Next(b.now()); ok {
		t.Error("a counter without a count has a next rise")
	}
}

func TestOneShots(t *testing.T) {
	for _, c := range []struct {
		control byte
		pulses  uint64
	}{{0x10, 100 + 1}, {0x18, 100 + 2}} {
		b := newBench(t)
		b.write(Control, c.control)
		b.write(Counter0, 100)
		b.Advance(b.now())
		at, ok := b.Next(b.now())
		if !ok || at != when(b.clk+c.pulses) {
			t.Errorf("control word %#02x: next rise at %d, %v; want it after %d pulses, at %d", c.control, at, ok, c.pulses, when(b.clk+c.pulses))
		}
		b.clk += 1 << 40
		if n := b.Advance(b.now()); n != 1 {
			t.Errorf("control word %#02x: %d rises, want 1", c.control, n)
		}
		if _, ok := b.Next(b.now()); ok {
			t.Errorf("control word %#02x: there is another rise", c.control)
		}
	}
	b := newBench(t)
	b.write(Control, 0x18)
	b.write(Counter0, 2)
	b.Advance(b.now())
	b.clk += 1 + 2
	if at, ok := b.Next(b.now()); b.OUT0(b.now()) || !ok || at != when(b.clk+1) {
		t.Errorf("next rise at %d, %v; want the end of the strobe at %d", at, ok, when(b.clk+1))
	}
	for _, control := range []byte{0x12, 0x1a} { // modes 1 and 5: GATE 0 has no rise
		b.write(Control, control)
		b.write(Counter0, 100)
		b.Advance(b.now())
		if _, ok := b.Next(b.now()); ok {
			t.Errorf("control word %#02x: there is a next rise", control)
		}
	}
}

// TestFastestGuest has the smallest periods for an hour, in one step.
func TestFastestGuest(t *testing.T) {
	for _, control := range []byte{0x14, 0x16} {
		b := newBench(t)
		b.write(Control, control)
		b.write(Counter0, 1)
		b.Advance(b.now())
		b.clk += 1 + 3600*Frequency
		if n := b.Advance(b.now()); n != 3600*Frequency/2 {
			t.Errorf("control word %#02x: %d rises, want %d", control, n, 3600*Frequency/2)
		}
	}
}

func TestSystemControl(t *testing.T) {
	b := newBench(t)
	b.write(SystemControl, 0xff)
	if v := b.read(SystemControl) &^ systemRefresh; v != 0x0f {
		t.Errorf("port 61 reads %#02x, want 0x0f", v)
	}
	var toggles int
	last := b.read(SystemControl) & systemRefresh
	for range 1000 {
		b.clk++
		if v := b.read(SystemControl) & systemRefresh; v != last {
			last = v
			toggles++
		}
	}
	if toggles < 1000/refreshPulses || toggles > 1000/refreshPulses+1 {
		t.Errorf("the refresh bit toggled %d times in 1000 pulses", toggles)
	}
}

func TestClock(t *testing.T) {
	for _, n := range []uint64{0, 1, 2, 17, Frequency - 1, Frequency, Frequency + 1, 1 << 40, pulses(math.MaxUint64)} {
		at := when(n)
		if pulses(at) != n || at > 0 && pulses(at-1) != n-1 {
			t.Errorf("pulse %d is at %d ns, where there are %d; a nanosecond before, %d", n, at, pulses(at), pulses(at-1))
		}
	}
	if pulses(second) != Frequency {
		t.Errorf("%d pulses in a second", pulses(second))
	}
	if at := when(pulses(math.MaxUint64) + 1); at != math.MaxUint64 {
		t.Errorf("a pulse after the end of time is at %d", at)
	}
	// A clock that goes back, and one at its end.
	b := newBench(t)
	b.write(Control, 0x34)
	b.write(Counter0, 10, 0)
	b.Advance(math.MaxUint64)
	if n := b.Advance(0); n != 0 {
		t.Errorf("%d rises in the past", n)
	}
	if _, ok := b.Next(0); !ok {
		t.Error("no deadline at the end of time")
	}
}

func TestForeignPorts(t *testing.T) {
	b := newBench(t)
	b.write(0x44, 0x34)
	if v := b.read(0x44); v != 0xff {
		t.Errorf("port 44 reads %#02x", v)
	}
	for port, want := range map[uint16]string{0x42: "counter 2", 0x43: "control word", 0x61: "system control", 0x44: "0x44"} {
		if got := RegisterName(port, true); got != want {
			t.Errorf("port %#x is %q, want %q", port, got, want)
		}
	}
}
