package ioapic

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// processor is a processor with its local APIC: one IRR, and a handler that runs to its EOI before the next one starts.
type processor struct {
	irr [4]atomic.Uint64
}

// absent is a destination where nobody is.
const absent = 9

func (p *processor) Deliver(m Message) Acceptance {
	runtime.Gosched() // the other threads' chance to come between remote IRR and the message
	if m.Dest == absent {
		return Nobody
	}
	if p.irr[m.Vector/64].Or(1<<(m.Vector%64))>>(m.Vector%64)&1 != 0 {
		return Coalesced
	}
	return Delivered
}

func (p *processor) take(vector uint8) bool {
	return p.irr[vector/64].And(^uint64(1<<(vector%64)))>>(vector%64)&1 != 0
}

// device asks for an interrupt under its own lock, and is served when the handler has looked at it.
type device struct {
	mu     sync.Mutex
	asks   bool
	line   *Source
	served atomic.Int64
}

func (d *device) ask() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asks = true
	d.line.Set(true)
}

// serve is the handler's part: it says whether the device had asked.
func (d *device) serve() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.asks {
		return false
	}
	d.asks = false
	d.line.Set(false)
	d.served.Add(1)
	return true
}

// stress has devices that share level-triggered pins, a processor that serves them, a guest's other processor that rewrites the entries and
// an owner that redelivers. It wants every request served; what it returns is how many interrupts found nobody asking.
func stress(t *testing.T, pins, perPin int, vectors func(pin int) []uint8, rewrite func(c *IOAPIC, pin, turn int)) (spurious int) {
	cpu := new(processor)
	later := make(chan int, 1000)
	c, err := New(Config{Output: cpu, Later: func(pin int) {
		select {
		case later <- pin:
		default:
			t.Error("more interrupts are late than there can be")
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	c.stormLimit = 5
	rounds := int64(20000)
	if testing.Short() {
		rounds = 2000
	}
	devices := make([][]*device, pins)
	var asking, helping sync.WaitGroup
	var done atomic.Bool
	deadline := time.AfterFunc(time.Minute, func() { done.Store(true) })
	defer deadline.Stop()
	for pin := range devices {
		rewrite(c, pin, 0)
		for range perPin {
			s, err := c.NewSource(pin)
			if err != nil {
				t.Fatal(err)
			}
			d := &device{line: s}
			devices[pin] = append(devices[pin], d)
			asking.Go(func() {
				for n := range rounds {
					d.ask()
					for d.served.Load() == n {
						if done.Load() {
							return
						}
						runtime.Gosched()
					}
				}
			})
		}
	}
	handlers := map[uint8][]*device{}
	for pin, shared := range devices {
		for _, v := range vectors(pin) {
			handlers[v] = append(handlers[v], shared...)
		}
	}
	helping.Go(func() { // the processor
		for turn := 0; !done.Load(); turn++ {
			for vector, handled := range handlers {
				if !cpu.take(vector) {
					continue
				}
				served := false
				for _, d := range handled {
					served = d.serve() || served
				}
				if !served {
					spurious++
				}
				if turn%2 == 0 {
					c.EOI(vector)
				} else {
					c.Write(offEOI, []byte{vector})
				}
			}
			runtime.Gosched()
		}
	})
	helping.Go(func() { // the rest of the guest
		for turn := 1; !done.Load(); turn++ {
			rewrite(c, turn%pins, turn)
			runtime.Gosched()
		}
		for pin := range pins {
			rewrite(c, pin, 0)
		}
	})
	helping.Go(func() { // the owner
		for !done.Load() {
			select {
			case pin := <-later:
				c.Redeliver(pin)
			default:
				runtime.Gosched()
			}
		}
	})
	asking.Wait()
	late := done.Swap(true)
	helping.Wait()
	for pin, shared := range devices {
		for n, d := range shared {
			if got := d.served.Load(); late || got != rounds {
				t.Errorf("pin %d, device %d: served %d times of %d; %+v", pin, n, got, rounds, c.Stats()[pin])
			}
		}
	}
	return spurious
}

// half writes one half of an entry without the register pair, which two threads cannot share.
func half(c *IOAPIC, pin int, upper uint32, v uint32) {
	c.writeRegister(indexIOREDTBL+2*uint32(pin)+upper, v)
}

// TestNoLevelIsLostOrDoubled: each pin has its vector, and the guest masks, unmasks and redirects, sometimes to nobody. Every request is
// served, and the handler never runs for nothing.
func TestNoLevelIsLostOrDoubled(t *testing.T) {
	vector := func(pin int) uint8 { return uint8(0x41 + pin) }
	spurious := stress(t, 2, 3, func(pin int) []uint8 { return []uint8{vector(pin)} }, func(c *IOAPIC, pin, turn int) {
		low := level | uint32(vector(pin))
		switch turn % 5 {
		case 0:
			half(c, pin, 0, low)
			half(c, pin, 1, 1<<24)
		case 1:
			half(c, pin, 0, masked|low)
		case 2:
			half(c, pin, 1, absent<<24)
			half(c, pin, 0, low)
		case 3:
			half(c, pin, 0, low)
			half(c, pin, 1, 2<<24)
		case 4:
			half(c, pin, 0, lowestPriority|low)
		}
	})
	if spurious != 0 {
		t.Errorf("%d interrupts for nothing", spurious)
	}
}

// TestNoLevelIsLostByReprogramming: pins share vectors, vectors change in service, and remote IRR is cleared by Linux's method. That
// may interrupt for nothing, and must not lose anything.
func TestNoLevelIsLostByReprogramming(t *testing.T) {
	spurious := stress(t, 2, 2, func(int) []uint8 { return []uint8{0x41, 0x42} }, func(c *IOAPIC, pin, turn int) {
		low := level | 0x41 + uint32(turn/2%2)
		half(c, pin, 0, masked|low)
		half(c, pin, 0, masked|low&^level)
		half(c, pin, 0, masked|low)
		half(c, pin, 0, low)
	})
	t.Logf("%d interrupts for nothing", spurious)
}

// TestEdgesAreAccountedFor: several threads raise one edge-triggered pin while it is masked, unmasked and redirected. Each transition
// is counted once, by what became of it.
func TestEdgesAreAccountedFor(t *testing.T) {
	cpu := new(processor)
	c, err := New(Config{Output: cpu})
	if err != nil {
		t.Fatal(err)
	}
	rounds := 20000
	if testing.Short() {
		rounds = 2000
	}
	var devices, helping sync.WaitGroup
	var done atomic.Bool
	for n := range 3 {
		s, err := c.NewSource(4)
		if err != nil {
			t.Fatal(err)
		}
		devices.Go(func() {
			for r := range rounds {
				s.Set(true)
				if (r+n)%7 == 0 {
					runtime.Gosched()
				}
				s.Set(false)
			}
		})
	}
	helping.Go(func() {
		for turn := uint32(0); !done.Load(); turn++ {
			half(c, 4, 0, turn%3/2<<16|0x34)
			half(c, 4, 1, (absent-turn%2)<<24)
			half(c, 4, 0, turn%5/4<<9|0x34)
			cpu.take(0x34)
			runtime.Gosched()
		}
	})
	devices.Wait()
	done.Store(true)
	helping.Wait()
	if s := c.Stats()[4]; s.Raised == 0 || s.Asserted != 0 || s.Raised != s.Delivered+s.Coalesced+s.Masked+s.Nobody+s.SMI+s.Reserved {
		t.Errorf("%+v", s)
	}
}
