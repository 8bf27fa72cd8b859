package pci_test

import (
	"errors"
	"testing"

	"doorbell/internal/pci"
	"doorbell/internal/pci/pcitest"

	"golang.org/x/sys/unix"
)

var (
	toZero = []byte{0, 0, 0xe0, 0xfe, 0, 0, 0, 0}
	thirty = []byte{0x30, 0, 0, 0, 0, 0, 0, 0} // data 0x30 and a clear mask bit
)

// TestRoutesAreBatched: what one register write unmasks is one change of the routing table; a mask and an unmask without a new message
// are none.
func TestRoutesAreBatched(t *testing.T) {
	b := newBus(t)
	control := func(v byte) { ecam(b.Segment, 1, 0x4b, []byte{v}, true) }
	control(0xc0)
	for n := range uint64(3) {
		b.msix.WriteTable(16*n, toZero)
		b.msix.WriteTable(16*n+8, thirty)
	}
	check(t, "batches while the function is masked", b.irqs.Batches(), 0)
	control(0x80)
	check(t, "batches after the function mask", b.irqs.Batches(), 1)
	check(t, "GSIs", b.irqs.GSIs(), 3)
	for range 5 {
		b.msix.WriteTable(12, []byte{1, 0, 0, 0})
		b.msix.WriteTable(12, []byte{0, 0, 0, 0})
		control(0xc0)
		control(0x80)
	}
	check(t, "batches after masking without a change", b.irqs.Batches(), 1)
	control(0)
	check(t, "GSIs after MSI-X was disabled", b.irqs.GSIs(), 0)
	check(t, "batches after that", b.irqs.Batches(), 2)
}

func TestStats(t *testing.T) {
	b := newBus(t)
	ecam(b.Segment, 1, 0x4b, []byte{0x80}, true)
	b.msix.WriteTable(0, toZero)
	for range 3 {
		b.msix.Fire(0)
	}
	b.msix.ReadPBA(0, make([]byte, 8))
	b.msix.Fire(0)
	b.msix.WriteTable(8, thirty)
	b.msix.Fire(0)
	b.msix.Fire(99)
	got := b.msix.Stats()[0]
	want := pci.VectorStats{
		Message: pci.Message{Address: 0xfee00000, Data: 0x30}, Live: true,
		Fired: 5, Masked: 4, Coalesced: 3, Refired: 1, Unmaskings: 1, Routings: 1,
	}
	check(t, "stats", got, want)
	check(t, "delivered", b.msix.Vector(0).(*pcitest.Vector).Total(), 2)
}

// TestNoGSI: a vector for which there is no route stays pending, the others work, and a later unmask tries again.
func TestNoGSI(t *testing.T) {
	irqs := pcitest.NewInterrupts(t, 1)
	var failures int
	m, err := pci.NewMSIX("nic", 2, irqs, func(error) { failures++ })
	if err != nil {
		t.Fatal(err)
	}
	f := pci.NewFunction("nic", pci.Identity{VendorID: 1})
	if err := errors.Join(f.AddBAR(&pci.BAR{Size: 4096, Handler: scratch{}}), m.Attach(f, pci.MSIXPlace{PBAOffset: 0x800})); err != nil {
		t.Fatal(err)
	}
	s, err := pci.NewSegment(pcitest.NewDecoder(t))
	if err := errors.Join(err, s.Attach(pci.Address{Device: 1}, f)); err != nil {
		t.Fatal(err)
	}
	ecam(s, 1, 0x43, []byte{0x80}, true)
	for n := range uint64(2) {
		m.WriteTable(16*n, toZero)
		m.WriteTable(16*n+8, thirty)
		m.Fire(int(n))
	}
	pending := make([]byte, 8)
	m.ReadPBA(0, pending)
	check(t, "failures", failures, 1)
	check(t, "pending", pending[0], 2)
	check(t, "delivered", m.Vector(0).(*pcitest.Vector).Total(), 1)
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

// eventFDs is controllers whose vectors are eventfds, as the machine's are.
type eventFDs struct{ fd int }

func (e *eventFDs) NewVector(string, int) (pci.Vector, error) { return e, nil }
func (e *eventFDs) SetRoutes([]pci.Route) error               { return nil }
func (e *eventFDs) Release([]pci.Vector)                      {}
func (e *eventFDs) Remove(pci.Vector) error                   { return unix.Close(e.fd) }
func (e *eventFDs) FD() int                                   { return e.fd }
func (e *eventFDs) Take() uint64                              { return 0 }
func (e *eventFDs) Connect() error                            { return nil }
func (e *eventFDs) Disconnect() error                         { return nil }
func (e *eventFDs) Fire()                                     { _, _ = unix.Write(e.fd, signal) }

var signal = []byte{1, 0, 0, 0, 0, 0, 0, 0}

func newEventFDs(tb testing.TB) *pci.MSIX {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		tb.Fatal(err)
	}
	m, err := pci.NewMSIX("nic", 1, &eventFDs{fd}, nil)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = m.Close() })
	return m
}

func TestFireDoesNotAllocate(t *testing.T) {
	m := newEventFDs(t)
	if n := testing.AllocsPerRun(1000, func() { m.Fire(0) }); n != 0 {
		t.Errorf("%v allocations per message", n)
	}
}

func BenchmarkFire(b *testing.B) {
	m := newEventFDs(b)
	b.ReportAllocs()
	for b.Loop() {
		m.Fire(0)
	}
}
