package pit

import "testing"

// tick is what a kernel and its host do in one period of counter 0, and a read of the count.
func (b *bench) tick() {
	at, _ := b.Next(b.now())
	b.Advance(at)
	b.WritePort(Control, 0x00, at)
	b.ReadPort(Counter0, at)
	b.ReadPort(Counter0, at)
	b.WritePort(Control, 0xe2, at)
	b.ReadPort(Counter0, at)
	b.ReadPort(SystemControl, at)
	b.WritePort(SystemControl, 1, at)
	b.clk = pulses(at)
}

func newTicking(t testing.TB) *bench {
	b := newBench(t)
	b.write(Control, 0x34)
	b.write(Counter0, 0x9c, 0x2e)
	return b
}

func TestNoAllocation(t *testing.T) {
	b := newTicking(t)
	if n := testing.AllocsPerRun(1000, b.tick); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkNextAndAdvance(t *testing.B) {
	b := newTicking(t)
	now := b.now()
	t.ReportAllocs()
	for t.Loop() {
		now, _ = b.Next(now)
		b.Advance(now)
	}
}

// BenchmarkFastestGuestHour is an hour of an interrupt every 1.7 us, in one step.
func BenchmarkFastestGuestHour(t *testing.B) {
	b := newBench(t)
	b.write(Control, 0x16)
	b.write(Counter0, 2)
	now := b.now()
	t.ReportAllocs()
	for t.Loop() {
		now += 3600 * second
		b.Advance(now)
	}
}

func BenchmarkLatchAndRead(t *testing.B) {
	b := newTicking(t)
	now := b.now()
	t.ReportAllocs()
	for t.Loop() {
		now += 1000
		b.WritePort(Control, 0x00, now)
		b.ReadPort(Counter0, now)
		b.ReadPort(Counter0, now)
	}
}

func BenchmarkReadSystemControl(t *testing.B) {
	b := newTicking(t)
	now := b.now()
	t.ReportAllocs()
	for t.Loop() {
		now += 1000
		b.ReadPort(SystemControl, now)
	}
}
