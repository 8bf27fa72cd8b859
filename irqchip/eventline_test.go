package irqchip

import (
	"encoding/binary"
	"testing"

	"doorbell/internal/ledger"

	"golang.org/x/sys/unix"
)

// newTestLine is a line whose eventfd nobody listens to.
func newTestLine(t testing.TB) (*eventLine, *ledger.Ledger) {
	t.Helper()
	fd, err := newEventFD()
	if err != nil {
		t.Fatal(err)
	}
	book := ledger.New(1)
	l := &eventLine{gsi: 4, eventfd: fd, count: book.AddLine("com1", 4), remove: func() error { return nil }}
	t.Cleanup(func() { l.Close() })
	return l, book
}

// Pulses are counted twice, by the ledger and by the eventfd, and the two agree.
func TestRaiseSignalsTheEventFD(t *testing.T) {
	l, book := newTestLine(t)
	for range 3 {
		l.Raise()
	}
	var b [8]byte
	if _, err := unix.Read(l.eventfd, b[:]); err != nil {
		t.Fatal(err)
	}
	if n := binary.NativeEndian.Uint64(b[:]); n != 3 || book.Lines()[0].Raised != 3 {
		t.Errorf("eventfd %d, ledger %+v; want 3", n, book.Lines())
	}
}

func TestRaiseAllocatesNothing(t *testing.T) {
	l, _ := newTestLine(t)
	if n := testing.AllocsPerRun(1000, l.Raise); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRaise(b *testing.B) {
	l, _ := newTestLine(b)
	b.ReportAllocs()
	for b.Loop() {
		l.Raise()
	}
}
