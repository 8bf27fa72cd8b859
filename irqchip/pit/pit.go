package pit

import "sync"

// The chip's ports, and the system control port that has a hand in counter 2.
const (
	Counter0      = 0x40
	Counter1      = 0x41
	Counter2      = 0x42
	Control       = 0x43
	SystemControl = 0x61
)

// floating is what a read finds on the bus when nothing drives it.
const floating = 0xff

// The read-back command ("Read-back command"): a control word for counter 3. The two latch bits are active low.
const (
	selectShift    = 6
	selectReadBack = 3

	readBackNoCount  = 1 << 5
	readBackNoStatus = 1 << 4
	readBackCounter0 = 1 << 1
)

// PIT is the chip. Its methods may be called from any goroutine. now is always the owner's monotonic clock in nanoseconds.
type PIT struct {
	mu       sync.Mutex
	counters [3]counter
	system   uint8 // port 61's bits that a guest sets
}

// New returns a chip that does nothing until it is programmed.
func New() *PIT {
	p := &PIT{}
	for i := range p.counters {
		c := &p.counters[i]
		c.program(powerOn)
		c.gate = i != 2
	}
	return p
}

// ReadPort serves a guest's read of one byte. The control word register cannot be read; it and foreign ports read as a floating bus.
func (p *PIT) ReadPort(port uint16, now uint64) byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch port {
	case Counter0, Counter1, Counter2:
		return p.counter(port-Counter0, now).read()
	case SystemControl:
		return p.readSystem(now)
	}
	return floating
}

// WritePort serves a guest's write of one byte. Foreign ports are ignored. Any write can change what Next says.
func (p *PIT) WritePort(port uint16, v byte, now uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch port {
	case Counter0, Counter1, Counter2:
		p.counter(port-Counter0, now).write(v)
	case Control:
		p.control(v, now)
	case SystemControl:
		p.writeSystem(v, now)
	}
}

// Next is the time at which OUT 0 rises next, if nobody writes to the chip before; ok is false if it does not. A rise that Advance has not
// reported yet has its deadline now or earlier. The owner must not follow deadlines that are close together: see MinInterval.
func (p *PIT) Next(now uint64) (deadline uint64, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, ok := p.counter(0, now).nextRise()
	if !ok {
		return 0, false
	}
	return when(at), true
}

// Advance returns how many times OUT 0 has risen since the last call: each is an interrupt, and the owner decides what becomes of those
// that it is late for.
func (p *PIT) Advance(now uint64) (rises uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.counter(0, now)
	rises, c.rises = c.rises, 0
	return rises
}

// OUT0 is the level of OUT 0, which is that of IRQ 0's line.
func (p *PIT) OUT0(now uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counter(0, now).out
}

// counter is a counter, brought to the present.
func (p *PIT) counter(n uint16, now uint64) *counter {
	c := &p.counters[n]
	c.advance(pulses(now))
	return c
}

// control is a write to the control word register.
func (p *PIT) control(v uint8, now uint64) {
	n := v >> selectShift
	if n == selectReadBack {
		for i := range uint16(len(p.counters)) {
			if v&(readBackCounter0<<i) == 0 {
				continue
			}
			c := p.counter(i, now)
			if v&readBackNoCount == 0 {
				c.latchCount()
			}
			if v&readBackNoStatus == 0 {
				c.latchStatus()
			}
		}
		return
	}
	c := p.counter(uint16(n), now)
	if v>>rwShift&rwMask == rwLatch {
		c.latchCount()
		return
	}
	c.program(v)
}
