package pic

import (
	"sync"
	"testing"
)

// output remembers what the Pair has told it.
type output struct {
	level   bool
	changes int
}

func (o *output) SetINTR(level bool) { o.level, o.changes = level, o.changes+1 }

// board is a pair under test with its output.
type board struct {
	*Pair
	t   testing.TB
	out output
}

// newBoard returns a pair that is initialized as Linux does it: vectors from 0x30 on, all unmasked.
func newBoard(t testing.TB) *board {
	b := newSilent(t)
	b.init(0x11, 0x01, 0x01)
	return b
}

// newSilent returns a pair after power-on.
func newSilent(t testing.TB) *board {
	b := &board{t: t}
	b.Pair = New(&b.out)
	return b
}

func (b *board) init(icw1, masterICW4, slaveICW4 byte) {
	b.write(MasterCommand, icw1)
	b.write(MasterData, 0x30, 0x04, masterICW4)
	b.write(SlaveCommand, icw1)
	b.write(SlaveData, 0x38, 0x02, slaveICW4)
}

func (b *board) write(port uint16, values ...byte) {
	for _, v := range values {
		b.WritePort(port, v)
	}
}

func (b *board) high(irqs ...int) {
	for _, irq := range irqs {
		b.SetLine(irq, true)
	}
}

func (b *board) low(irqs ...int) {
	for _, irq := range irqs {
		b.SetLine(irq, false)
	}
}

// ack wants INTR, and the IRQ of the vector that INTA gives.
func (b *board) ack(irqs ...int) {
	b.t.Helper()
	for _, irq := range irqs {
		if !b.INTR() {
			b.t.Fatalf("INTR is low, want IRQ %d", irq)
		}
		if v := b.Acknowledge(); v != byte(0x30+irq) {
			b.t.Fatalf("the vector is %#02x, want %#02x of IRQ %d", v, 0x30+irq, irq)
		}
	}
}

// quiet wants no INTR.
func (b *board) quiet() {
	b.t.Helper()
	if b.INTR() || b.out.level {
		b.t.Fatalf("INTR is %v, the output was told %v; want it low", b.INTR(), b.out.level)
	}
}

// status wants IRR and ISR of the chip at a command port.
func (b *board) status(command uint16, irr, isr byte) {
	b.t.Helper()
	b.write(command, 0x0a)
	gotIRR := b.ReadPort(command)
	b.write(command, 0x0b)
	if gotISR := b.ReadPort(command); gotIRR != irr || gotISR != isr {
		b.t.Fatalf("port %#x: IRR %08b and ISR %08b, want %08b and %08b", command, gotIRR, gotISR, irr, isr)
	}
}

func TestSilentUntilInitialized(t *testing.T) {
	b := newSilent(t)
	b.high(1)
	b.quiet()
	// This is how Linux looks for a PIC before it initializes it.
	b.write(SlaveData, 0xff)
	b.write(MasterData, 0xfb)
	if v := b.ReadPort(MasterData); v != 0xfb {
		t.Errorf("IMR reads %#02x, want 0xfb", v)
	}
	for _, w := range []struct {
		port uint16
		v    byte
	}{{MasterCommand, 0x11}, {MasterData, 0x30}, {MasterData, 0x04}} {
		b.write(w.port, w.v)
		b.high(4)
		b.quiet()
		b.low(4)
	}
	b.high(3)
	b.write(MasterData, 0x01)
	b.ack(3)
	b.status(MasterCommand, 0, 1<<3) // IRQ 1 rose before ICW1, which reset its edge
}

func TestICW1Resets(t *testing.T) {
	b := newBoard(t)
	b.write(MasterCommand, 0x68|0x03, 0xc2) // special mask mode, read ISR, IR2 lowest
	b.high(6)
	b.ack(6)
	b.high(4)
	b.write(MasterData, 0xa0)
	b.write(MasterCommand, 0x11)
	if v := b.ReadPort(MasterCommand); v != 0 {
		t.Errorf("status %08b: want IRR, without the edge of line 4", v)
	}
	b.write(MasterData, 0x30, 0x04, 0x01)
	if v := b.ReadPort(MasterData); v != 0 {
		t.Errorf("IMR %08b", v)
	}
	b.status(MasterCommand, 0, 0)
	b.high(7, 3, 0)
	b.ack(0) // IR0 is highest again
	b.write(MasterData, 0x01)
	b.quiet() // and special mask mode is off

	b.write(MasterCommand, 0x80)
	b.low(0, 3, 7)
	b.init(0x11, 0x03, 0x03)
	b.high(0)
	b.ack(0)
	b.low(0)
	b.high(0, 3)
	b.ack(0, 3) // and rotation in automatic EOI mode
}

// TestSequences initializes the master in all four lengths of sequence. The first byte to the data port after it is an OCW1.
func TestSequences(t *testing.T) {
	for _, c := range []struct {
		name string
		icw1 byte
		rest []byte
	}{
		{"cascade, ICW4", 0x11, []byte{0x30, 0x04, 0x01}},
		{"cascade", 0x10, []byte{0x30, 0x04}},
		{"single, ICW4", 0x13, []byte{0x30, 0x01}},
		{"single", 0x12, []byte{0x30}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newSilent(t)
			b.write(MasterCommand, c.icw1)
			b.write(MasterData, c.rest...)
			b.write(MasterData, 0x55)
			if v := b.ReadPort(MasterData); v != 0x55 {
				t.Errorf("IMR %#02x, want 0x55", v)
			}
			b.high(3)
			b.ack(3)
		})
	}
}

func TestWithoutICW4ItsModesAreOff(t *testing.T) {
	b := newBoard(t)
	b.init(0x11, 0x13, 0x03)
	b.init(0x10, 0, 0) // what is meant as ICW4 is OCW1 now
	b.high(5)
	b.ack(5)
	b.status(MasterCommand, 0, 1<<5)
}

func TestSingleHasNoSlave(t *testing.T) {
	b := newSilent(t)
	b.write(MasterCommand, 0x13)
	b.write(MasterData, 0x30, 0x01)
	b.write(SlaveCommand, 0x11)
	b.write(SlaveData, 0x38, 0x02, 0x01)
	b.high(9)
	b.ack(2) // the wire is there all the same
	b.status(SlaveCommand, 1<<1, 0)
}

func TestVectorNeedsTheSlavesID(t *testing.T) {
	b := newBoard(t)
	b.write(SlaveCommand, 0x11)
	b.write(SlaveData, 0x38, 0x03, 0x01)
	b.high(9)
	if v := b.Acknowledge(); v != 0xff {
		t.Errorf("vector %#02x: want a floating bus", v)
	}
	b.status(SlaveCommand, 1<<1, 0)
	b.status(MasterCommand, 0, 1<<2)
}

// TestSlavesIDAfterICW1: "the slave mode address is set to 7" until ICW3 says otherwise. A slave that is told to be alone does not answer.
func TestSlavesIDAfterICW1(t *testing.T) {
	b := newBoard(t)
	b.write(MasterCommand, 0x11)
	b.write(MasterData, 0x30, 0x80, 0x01)
	b.write(SlaveCommand, 0x11)
	b.write(SlaveData, 0x38)
	b.high(7)
	if v := b.Acknowledge(); v != 0x3f {
		t.Errorf("vector %#02x, want the slave's default, 0x3f", v)
	}
	b.write(MasterCommand, 0x20)
	b.write(SlaveCommand, 0x13)
	b.low(7)
	b.high(7)
	if v := b.Acknowledge(); v != 0xff {
		t.Errorf("vector %#02x: want a floating bus", v)
	}
}

func TestFullyNested(t *testing.T) {
	b := newBoard(t)
	b.high(4, 5)
	b.ack(4)
	b.quiet()
	b.high(3)
	b.ack(3)
	b.write(MasterCommand, 0x20) // ends 3
	b.quiet()
	b.write(MasterCommand, 0x20) // ends 4
	b.ack(5)
	b.status(MasterCommand, 0, 1<<5)
	b.low(5)
	b.high(5)
	b.quiet() // not while it is in service
	b.write(MasterCommand, 0x65)
	b.ack(5)
}

func TestMask(t *testing.T) {
	b := newBoard(t)
	b.write(MasterData, 1<<4)
	b.high(4)
	b.quiet()
	b.status(MasterCommand, 1<<4, 0) // IMR does not reach IRR
	b.write(MasterData, 0)
	if !b.INTR() {
		t.Fatal("unmasking does not raise INTR")
	}
	b.write(MasterData, 1<<4)
	b.quiet()
	b.high(12)
	b.write(MasterData, 1<<2|1<<4)
	b.quiet()
	b.write(MasterData, 1<<4)
	b.write(SlaveData, 0xff)
	b.quiet()
	b.write(SlaveData, 0)
	b.ack(12)
}

func TestEdgeAndLevel(t *testing.T) {
	b := newBoard(t)
	b.write(MasterELCR, 0xff)
	b.write(SlaveELCR, 0xff)
	if m, s := b.ReadPort(MasterELCR), b.ReadPort(SlaveELCR); m != 0xf8 || s != 0xde {
		t.Errorf("ELCR reads %#02x and %#02x, want 0xf8 and 0xde", m, s)
	}
	b.high(5, 1)
	b.ack(1)
	b.write(MasterCommand, 0x20)
	b.ack(5)
	b.status(MasterCommand, 1<<5, 1<<5)
	b.write(MasterCommand, 0x20)
	b.ack(5) // still high; the edge of 1 is used up
	b.low(5)
	b.write(MasterCommand, 0x20)
	b.quiet()
	b.high(10)
	b.ack(10)
	b.write(SlaveCommand, 0x20)
	b.write(MasterCommand, 0x20)
	b.ack(10)
}

func TestLTIM(t *testing.T) {
	b := newBoard(t)
	b.high(1)
	b.init(0x19, 1, 1)
	b.ack(1) // a level needs no edge after ICW1
	b.write(MasterCommand, 0x20)
	b.ack(1)
}

func TestShortRequestIsSpurious(t *testing.T) {
	b := newBoard(t)
	b.high(3)
	b.low(3)
	if v := b.ReadPort(MasterCommand); v != 0 {
		t.Errorf("IRR %08b: the request is lost", v)
	}
	b.ack(7)
	b.status(MasterCommand, 0, 0)
	b.quiet()
	b.high(3)
	b.low(3)
	b.write(MasterData, 1<<3)
	b.quiet() // a mask is no reason for a spurious interrupt
	if s := b.Stats(); s.Spurious != [2]uint64{1, 0} || s.Acknowledged != [16]uint64{} {
		t.Errorf("%+v", s)
	}
}

func TestSpurious15NeedsAnEOIAtTheMaster(t *testing.T) {
	b := newBoard(t)
	b.high(12)
	b.low(12)
	b.ack(15)
	b.status(SlaveCommand, 0, 0)
	b.status(MasterCommand, 0, 1<<2)
	b.high(14)
	b.quiet()
	b.write(MasterCommand, 0x62)
	b.ack(14)
	if s := b.Stats(); s.Spurious != [2]uint64{0, 1} || s.EOIs[2] != 1 {
		t.Errorf("%+v", s)
	}
}

func TestSpuriousBesideReal7(t *testing.T) {
	b := newBoard(t)
	b.high(7)
	b.ack(7)
	b.high(3)
	b.low(3)
	b.ack(7) // this one is spurious, though ISR says that 7 is in service
	b.status(MasterCommand, 0, 1<<7)
}

func TestPulsesHeldHigh(t *testing.T) {
	b := newBoard(t)
	for range 3 {
		b.low(0)
		b.high(0)
	}
	b.ack(0)
	b.write(MasterCommand, 0x20)
	b.quiet()
	b.low(0)
	b.high(0)
	b.ack(0)
}

func TestCascade(t *testing.T) {
	b := newBoard(t)
	b.high(12, 8, 3)
	b.ack(8) // IR2 is above IR3
	b.status(MasterCommand, 1<<3, 1<<2)
	b.status(SlaveCommand, 1<<4, 1<<0)
	b.write(SlaveCommand, 0x20)
	b.quiet() // 12 waits for the master's EOI
	b.write(MasterCommand, 0x20)
	b.ack(12)
	b.high(9)
	b.quiet() // in normal nesting a slave does not interrupt itself
	b.write(SlaveCommand, 0x20)
	b.write(MasterCommand, 0x20)
	b.ack(9)
	b.write(SlaveCommand, 0x20)
	b.write(MasterCommand, 0x20)
	b.ack(3)
}

func TestSpecialFullyNested(t *testing.T) {
	b := newBoard(t)
	b.init(0x11, 0x11, 0x01)
	b.high(12)
	b.ack(12)
	b.high(3)
	b.quiet() // what is below the slave is still blocked
	b.high(9)
	b.ack(9)
	b.high(10)
	b.quiet()
	// "Send a non-specific EOI to the slave and read its ISR for zero."
	b.write(SlaveCommand, 0x20)
	b.status(SlaveCommand, 1<<2, 1<<4)
	b.ack(10)
	b.write(SlaveCommand, 0x20, 0x20)
	b.status(SlaveCommand, 0, 0)
	b.write(MasterCommand, 0x20)
	b.ack(3)
	b.low(3)
	b.high(3)
	b.quiet() // only a slave interrupts itself
}

// TestSpecialFullyNestedSlave: ICW3 of a slave is a number, and not inputs that have slaves.
func TestSpecialFullyNestedSlave(t *testing.T) {
	b := newBoard(t)
	b.init(0x11, 0x11, 0x11)
	b.high(9)
	b.ack(9)
	b.low(9)
	b.high(9)
	b.quiet()
}

func TestSpecialMask(t *testing.T) {
	b := newBoard(t)
	b.high(3, 6)
	b.ack(3)
	b.quiet()
	b.write(MasterData, 1<<3)
	b.quiet()
	b.write(MasterCommand, 0x68)
	b.ack(6) // lower than 3, which is in service and masked
	b.write(MasterCommand, 0x20)
	b.status(MasterCommand, 0, 1<<3) // an EOI without a level does not see a masked bit
	b.write(MasterCommand, 0x20)
	b.status(MasterCommand, 0, 1<<3)
	b.write(MasterCommand, 0x08) // ESMM is 0: no change
	b.low(6)
	b.high(6)
	if !b.INTR() {
		t.Fatal("special mask mode was left")
	}
	b.write(MasterCommand, 0x48)
	b.quiet()
	b.write(MasterCommand, 0x63)
	b.ack(6)
}

// TestAutomaticRotation is the data sheet's example: IR4 and IR6 are served, and IR4, the highest, goes to the end with its EOI.
func TestAutomaticRotation(t *testing.T) {
	b := newBoard(t)
	b.high(6)
	b.ack(6)
	b.high(4)
	b.ack(4)
	b.write(MasterCommand, 0xa0)
	b.status(MasterCommand, 0, 1<<6)
	b.low(4)
	b.high(4)
	b.quiet() // 4 is below 6 now
	b.high(5)
	b.ack(5)
	b.write(MasterCommand, 0xa0, 0xa0, 0xa0) // the last finds nothing and rotates nothing
	b.high(0, 7)
	b.ack(7) // the circle begins behind 6
	b.quiet()
}

func TestSpecificRotation(t *testing.T) {
	b := newBoard(t)
	b.write(MasterCommand, 0xc5) // 5 is lowest: 6 7 0 1 2 3 4 5
	b.high(5, 0, 7)
	b.ack(7)
	b.write(MasterCommand, 0xe7) // ends 7, which is lowest: 0 1 2 3 4 5 6 7
	b.ack(0)
	b.write(MasterCommand, 0x40) // no operation
	b.status(MasterCommand, 1<<5, 1<<0)
	b.write(MasterCommand, 0x60)
	b.ack(5)
}

func TestAutoEOI(t *testing.T) {
	b := newBoard(t)
	b.init(0x11, 0x03, 0x03)
	b.high(4, 5, 12, 13)
	b.ack(12, 13, 4, 5)
	b.quiet()
	b.status(MasterCommand, 0, 0)
	b.status(SlaveCommand, 0, 0)
	b.low(4, 5)
	b.write(MasterCommand, 0x80)
	b.high(4)
	b.ack(4)
	b.low(4)
	b.high(4, 5)
	b.ack(5, 4) // 4 has rotated to the end
	b.write(MasterCommand, 0x00)
	b.low(5)
	b.high(5)
	b.ack(5)
	b.low(4, 5)
	b.high(4, 5)
	b.ack(5, 4) // 4 still is: its last service rotated, that of 5 did not
}

func TestPoll(t *testing.T) {
	b := newBoard(t)
	b.write(MasterCommand, 0x0c)
	if v := b.ReadPort(MasterCommand); v&0x80 != 0 {
		t.Errorf("poll word %#02x without a request", v)
	}
	b.high(4, 6)
	b.write(MasterCommand, 0x0f) // P overrides RR, for one read
	if v := b.ReadPort(MasterData); v != 0x84 {
		t.Errorf("poll word %#02x, want 0x84", v)
	}
	if v := b.ReadPort(MasterCommand); v != 1<<4 {
		t.Errorf("%08b, want ISR with 4", v)
	}
	b.quiet()
	b.write(MasterCommand, 0x20)
	b.ack(6)
	b.write(MasterCommand, 0x20)

	b.high(9, 10)
	b.write(MasterCommand, 0x0c)
	b.write(SlaveCommand, 0x0c)
	if m, s := b.ReadPort(MasterCommand), b.ReadPort(SlaveCommand); m != 0x82 || s != 0x81 {
		t.Errorf("poll words %#02x and %#02x, want 0x82 and 0x81", m, s)
	}
	b.write(SlaveCommand, 0x20)
	b.write(MasterCommand, 0x20)
	b.ack(10)
}

// TestPollWithAutoEOI: the slave's INT falls with the poll and rises at once for the next request, which is an edge to the master.
func TestPollWithAutoEOI(t *testing.T) {
	b := newBoard(t)
	b.init(0x11, 0x01, 0x03)
	b.high(9, 10)
	b.write(MasterCommand, 0x0c)
	b.write(SlaveCommand, 0x0c)
	if m, s := b.ReadPort(MasterCommand), b.ReadPort(SlaveCommand); m != 0x82 || s != 0x81 {
		t.Errorf("poll words %#02x and %#02x, want 0x82 and 0x81", m, s)
	}
	b.status(SlaveCommand, 1<<2, 0)
	b.write(MasterCommand, 0x20)
	b.ack(10)
}

func TestStrayNumbers(t *testing.T) {
	b := newBoard(t)
	b.high(-1, 2, 16, 1<<40)
	b.quiet()
	b.write(0x22, 0x11)
	if v := b.ReadPort(0xa2); v != 0xff {
		t.Errorf("port 0xa2 reads %#02x", v)
	}
	if s := b.Stats(); s != (Stats{}) {
		t.Errorf("%+v", s)
	}
}

func TestUnconnected(t *testing.T) {
	p := New(nil)
	b := &board{t: t, Pair: p}
	b.init(0x11, 1, 1)
	b.high(1)
	b.ack(1)
}

func TestStats(t *testing.T) {
	b := newBoard(t)
	for range 3 {
		b.high(4, 9)
		b.ack(9)
		b.write(SlaveCommand, 0x20)
		b.write(MasterCommand, 0x20)
		b.ack(4)
		b.write(MasterCommand, 0x20, 0x20)
		b.low(4, 9)
	}
	want := Stats{IdleEOIs: [2]uint64{3, 0}}
	for _, irq := range []int{2, 4, 9} {
		want.Raised[irq], want.Acknowledged[irq], want.EOIs[irq] = 3, 3, 3
	}
	if got := b.Stats(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if b.out.changes != 3*4 {
		t.Errorf("%d changes of INTR; want 12: IRQ 4 waits with INTR low while 9 is in service", b.out.changes)
	}
}

func TestRegisterNames(t *testing.T) {
	for port, want := range map[uint16]string{0x20: "IRR/ISR/poll", 0xa1: "IMR", 0x4d1: "ELCR", 0x22: "0x22"} {
		if got := RegisterName(port, false); got != want {
			t.Errorf("port %#x is %q, want %q", port, got, want)
		}
	}
	for port, want := range map[uint16]string{0xa0: "ICW1/OCW2/OCW3", 0x21: "ICW2-4/OCW1"} {
		if got := RegisterName(port, true); got != want {
			t.Errorf("port %#x is %q, want %q", port, got, want)
		}
	}
}

// TestConcurrent is for the race detector: devices raise lines while a vCPU serves them and another looks at the counters.
func TestConcurrent(t *testing.T) {
	b := newBoard(t)
	var devices sync.WaitGroup
	for _, irq := range []int{1, 4, 9, 12} {
		devices.Go(func() {
			for range 200 {
				b.SetLine(irq, false)
				b.SetLine(irq, true)
				b.Stats()
			}
		})
	}
	done := make(chan struct{})
	go func() { devices.Wait(); close(done) }()
	serve := func() {
		for b.INTR() {
			if b.Acknowledge() >= 0x38 {
				b.WritePort(SlaveCommand, 0x20)
			}
			b.WritePort(MasterCommand, 0x20)
		}
	}
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		serve()
	}
	s := b.Stats()
	for _, irq := range []int{1, 4, 9, 12} {
		if s.Raised[irq] != 200 || s.Acknowledged[irq] == 0 || s.Acknowledged[irq] > 200 {
			t.Errorf("IRQ %d: raised %d times, acknowledged %d times", irq, s.Raised[irq], s.Acknowledged[irq])
		}
	}
}
