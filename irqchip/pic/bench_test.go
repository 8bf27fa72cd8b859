package pic

import "testing"

// TestNoAllocation serves interrupts of both chips with everything that belongs to one.
func TestNoAllocation(t *testing.T) {
	b := newBoard(t)
	if n := testing.AllocsPerRun(1000, func() { b.serve(3); b.serve(12); b.Stats() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// serve is one edge-triggered interrupt from the line to the EOI.
func (b *board) serve(irq int) {
	b.SetLine(irq, false)
	b.SetLine(irq, true)
	if !b.INTR() || b.Acknowledge() != byte(0x30+irq) {
		b.t.Fatal("not served")
	}
	if irq >= 8 {
		b.WritePort(SlaveCommand, 0x20)
	}
	b.WritePort(MasterCommand, 0x20)
	b.ReadPort(MasterData)
}

func BenchmarkMasterInterrupt(t *testing.B) {
	b := newBoard(t)
	t.ReportAllocs()
	for t.Loop() {
		b.serve(3)
	}
}

func BenchmarkSlaveInterrupt(t *testing.B) {
	b := newBoard(t)
	t.ReportAllocs()
	for t.Loop() {
		b.serve(12)
	}
}

func BenchmarkSetLine(t *testing.B) {
	b := newBoard(t)
	t.ReportAllocs()
	level := false
	for t.Loop() {
		level = !level
		b.SetLine(4, level)
	}
}

func BenchmarkINTR(t *testing.B) {
	b := newBoard(t)
	t.ReportAllocs()
	for t.Loop() {
		b.INTR()
	}
}
