package irqchip

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"doorbell/internal/ledger"
	"doorbell/irqchip/ioapic"
	"doorbell/irqchip/pic"

	"golang.org/x/sys/unix"
)

// waitFor waits until cond holds.
func waitFor(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("does not come: %s", what)
		}
	}
}

// apicLog is local APICs that take everything and remember it.
type apicLog struct {
	mu   sync.Mutex
	got  []ioapic.Message
	n    atomic.Int64
	intr atomic.Bool
	// answer, if set, is called with each message, after it has been taken.
	answer func(ioapic.Message)
}

func (l *apicLog) Deliver(m ioapic.Message) ioapic.Acceptance {
	if l.answer == nil { // a storm is long
		l.mu.Lock()
		l.got = append(l.got, m)
		l.mu.Unlock()
	}
	l.n.Add(1)
	if l.answer != nil {
		l.answer(m)
	}
	return ioapic.Delivered
}

func (l *apicLog) SetINTR(level bool) { l.intr.Store(level) }

func (l *apicLog) vectors() (v []uint8) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range l.got {
		v = append(v, m.Vector)
	}
	return v
}

func newBridge(t testing.TB) (*southbridge, *apicLog, *ledger.Ledger) {
	t.Helper()
	b, l, book := &southbridge{}, &apicLog{}, ledger.New(1)
	if err := b.build(outlets{messages: l, intr: l, book: book}); err != nil {
		t.Fatal(err)
	}
	b.alarms.start()
	t.Cleanup(func() {
		if err := b.closeBridge(); err != nil {
			t.Error(err)
		}
	})
	return b, l, book
}

const (
	rteLevel  = 1 << 15
	rteMasked = 1 << 16
)

// initPICs programs the pair as a PC's firmware does: vectors 0x30 and 0x38, nothing masked.
func initPICs(p *pic.Pair) {
	for _, w := range []struct {
		port uint16
		v    byte
	}{
		{pic.MasterCommand, 0x11}, {pic.MasterData, 0x30}, {pic.MasterData, 4}, {pic.MasterData, 1}, {pic.MasterData, 0},
		{pic.SlaveCommand, 0x11}, {pic.SlaveData, 0x38}, {pic.SlaveData, 2}, {pic.SlaveData, 1}, {pic.SlaveData, 0},
	} {
		p.WritePort(w.port, w.v)
	}
}

// TestBridgeLine: a pulse is one message of the IOAPIC and one request at the PICs; a GSI of 16 or more does not lead to the PICs.
func TestBridgeLine(t *testing.T) {
	b, l, book := newBridge(t)
	initPICs(b.pic)
	low, err := b.NewLine(4, book.AddLine("low", 4))
	if err != nil {
		t.Fatal(err)
	}
	high, err := b.NewLine(20, book.AddLine("high", 20))
	if err != nil {
		t.Fatal(err)
	}
	program(b.ioapic, 4, 0x44)
	program(b.ioapic, 20, 0x54)
	high.Raise()
	if l.intr.Load() {
		t.Error("GSI 20 reached the PICs")
	}
	low.Raise()
	low.Raise()
	if v := l.vectors(); len(v) != 3 || v[0] != 0x54 || v[1] != 0x44 || v[2] != 0x44 {
		t.Errorf("messages %#x", v)
	}
	if !l.intr.Load() || b.pic.Acknowledge() != 0x34 {
		t.Error("GSI 4 is no request of IRQ 4")
	}
	for _, r := range book.Lines() {
		if want := map[string]uint64{"low": 2, "high": 1, "pit": 0}[r.Device]; r.Raised != want {
			t.Errorf("%s raised %d times, want %d", r.Device, r.Raised, want)
		}
	}
	if _, err := b.NewLine(24, book.AddLine("none", 24)); err == nil {
		t.Error("GSI 24 is a pin")
	}
}

// TestBridgeLevelsAreORed: a shared pin is active until the last of its lines is not: the message comes again after an EOI, and not after the
// one that finds them all low.
func TestBridgeLevelsAreORed(t *testing.T) {
	for _, gsi := range []uint32{9, 20} {
		b, l, book := newBridge(t)
		initPICs(b.pic)
		program(b.ioapic, int(gsi), 0x70|rteLevel)
		b.pic.WritePort(pic.SlaveELCR, 1<<1) // IRQ 9
		var lines [2]Level
		for i := range lines {
			var err error
			if lines[i], err = b.NewLevel(gsi, book.AddLine("shared", gsi)); err != nil {
				t.Fatal(err)
			}
		}
		lines[0].Set(true)
		lines[1].Set(true)
		lines[1].Set(true)
		if n := l.n.Load(); n != 1 {
			t.Errorf("GSI %d: %d messages before the EOI", gsi, n)
		}
		lines[0].Set(false)
		b.ioapic.EOI(0x70)
		if n := l.n.Load(); n != 2 {
			t.Errorf("GSI %d: %d messages after an EOI with one line up", gsi, n)
		}
		if gsi < picPins && b.pic.Acknowledge() != 0x39 {
			t.Errorf("GSI %d is no request", gsi)
		}
		lines[1].Set(false)
		b.ioapic.EOI(0x70)
		if n := l.n.Load(); n != 2 {
			t.Errorf("GSI %d: %d messages after the last line fell", gsi, n)
		}
		if s := b.ioapic.Stats()[gsi]; s.RTE.RemoteIRR() || s.EOIs != 2 || s.Redelivered != 1 {
			t.Errorf("GSI %d: %+v", gsi, s)
		}
	}
}

// TestBridgeResampled: a signal raises the line until the EOI, which lowers it and is told.
func TestBridgeResampled(t *testing.T) {
	b, l, book := newBridge(t)
	program(b.ioapic, 17, 0x71|rteLevel)
	r, err := b.NewResampled(17, book.AddLine("passed through", 17))
	if err != nil {
		t.Fatal(err)
	}
	resampled := func() bool {
		var buf [8]byte
		n, err := unix.Read(r.Resample(), buf[:])
		return n == 8 && !errors.Is(err, unix.EAGAIN)
	}
	for round := range int64(3) {
		r.Raise()
		waitFor(t, "a message", func() bool { return l.n.Load() == round+1 })
		if resampled() {
			t.Fatal("resampled before the EOI")
		}
		b.ioapic.EOI(0x71)
		if !resampled() || b.ioapic.Stats()[17].Asserted != 0 {
			t.Fatal("not resampled at the EOI")
		}
	}
	b.ioapic.EOI(0x71)
	if resampled() || l.n.Load() != 3 {
		t.Error("an EOI of nothing had an effect")
	}
	if _, err := b.NewResampled(5, book.AddLine("isa", 5)); err == nil {
		t.Error("GSI 5 takes a resampled line, whose EOI at the PICs nobody tells")
	}
}

// TestStormIsThrottled: a handler that ends its interrupt without silencing the device takes 10,000 in succession at its own pace, and then one
// at a time with a pause; the account says so.
func TestStormIsThrottled(t *testing.T) {
	b, l, book := newBridge(t)
	line, err := b.NewLevel(18, book.AddLine("stuck", 18))
	if err != nil {
		t.Fatal(err)
	}
	program(b.ioapic, 18, 0x72|rteLevel)
	var eois atomic.Int64
	eoi := make(chan struct{}, 1)
	l.answer = func(ioapic.Message) {
		select {
		case eoi <- struct{}{}:
		default:
		}
	}
	stop := make(chan struct{})
	var handler sync.WaitGroup
	handler.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-eoi:
				eois.Add(1)
				b.ioapic.EOI(0x72)
			}
		}
	})
	line.Set(true)
	waitFor(t, "a second pause", func() bool { return b.ioapic.Stats()[18].Throttled >= 2 })
	s := b.ioapic.Stats()[18]
	if s.EOIs < 2*ioapic.StormLimit || s.Late == 0 {
		t.Errorf("%+v", s)
	}
	line.Set(false)
	time.Sleep(3 * stormPause)
	n := eois.Load()
	time.Sleep(3 * stormPause)
	if eois.Load() != n {
		t.Error("the storm goes on without its line")
	}
	close(stop)
	handler.Wait()
}

// TestPITTicks: counter 0 in mode 2 raises IRQ 0 again and again, no more often than MinInterval allows, and stops when it is told to.
func TestPITTicks(t *testing.T) {
	b, l, _ := newBridge(t)
	program(b.ioapic, 0, 0x31)
	var ports Device
	for _, r := range b.Registers() {
		if r.Base == 0x40 {
			ports = r.Device
		}
	}
	write := func(off uint64, v byte) { ports.Write(off, []byte{v}) }
	write(3, 0x34) // counter 0, both bytes, mode 2
	write(0, 0xa9) // 1193 pulses: a millisecond
	write(0, 0x04)
	waitFor(t, "20 ticks", func() bool { return l.n.Load() >= 20 })
	write(3, 0x34)
	write(0, 2) // 1.7 us
	write(0, 0)
	start, n := time.Now(), l.n.Load()
	waitFor(t, "200 ticks", func() bool { return l.n.Load() >= n+200 })
	if took := time.Since(start); took < 190*200*time.Microsecond {
		t.Errorf("200 ticks in %v", took)
	}
	write(3, 0x30) // mode 0: waits for a count
	time.Sleep(5 * time.Millisecond)
	n = l.n.Load()
	time.Sleep(20 * time.Millisecond)
	if l.n.Load() != n {
		t.Error("ticks go on")
	}
}

func TestBridgeLineAllocatesNothing(t *testing.T) {
	b, l, book := newBridge(t)
	l.answer = func(ioapic.Message) {}
	program(b.ioapic, 20, 0x54)
	line, err := b.NewLine(20, book.AddLine("test", 20))
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(1000, line.Raise); n != 0 {
		t.Errorf("%v allocations", n)
	}
	level, err := b.NewLevel(21, book.AddLine("test", 21))
	if err != nil {
		t.Fatal(err)
	}
	program(b.ioapic, 21, 0x55|rteLevel)
	if n := testing.AllocsPerRun(1000, func() {
		level.Set(true)
		level.Set(false)
		b.ioapic.EOI(0x55)
	}); n != 0 {
		t.Errorf("%v allocations from level to EOI", n)
	}
}

func BenchmarkBridgeLevel(bm *testing.B) {
	b, l, book := newBridge(bm)
	l.answer = func(ioapic.Message) {}
	level, err := b.NewLevel(21, book.AddLine("test", 21))
	if err != nil {
		bm.Fatal(err)
	}
	program(b.ioapic, 21, 0x55|rteLevel)
	bm.ReportAllocs()
	for bm.Loop() {
		level.Set(true)
		level.Set(false)
		b.ioapic.EOI(0x55)
	}
}
