//go:build race

package ioapic

import "testing"

// explorer runs a few threads, one at a time, in every order of their operations on the chip's words that takes a running thread off
// at most so many times.
type explorer struct {
	threads  []*thread
	now      *thread
	script   []int // choices to repeat, then the first of each
	ways     []int // alternatives that each choice had
	at       int
	switches int
}

type thread struct {
	resume chan struct{}
	paused chan bool // false: it has ended
	ended  bool
}

// run plays one order.
func (x *explorer) run(maxSwitches int, bodies []func()) {
	x.threads, x.ways, x.at, x.switches = nil, x.ways[:0], 0, 0
	for _, body := range bodies {
		t := &thread{resume: make(chan struct{}), paused: make(chan bool)}
		x.threads = append(x.threads, t)
		go func() {
			<-t.resume
			body()
			t.paused <- false
		}()
	}
	yield = func() {
		t := x.now
		t.paused <- true
		<-t.resume
	}
	defer func() { yield = nil }()
	x.now = nil
	for {
		var can []*thread
		running := x.now != nil && !x.now.ended
		if running {
			can = append(can, x.now)
		}
		if !running || x.switches < maxSwitches {
			for _, t := range x.threads {
				if !t.ended && t != x.now {
					can = append(can, t)
				}
			}
		}
		if len(can) == 0 {
			return
		}
		next := can[x.choose(len(can))]
		if running && next != x.now {
			x.switches++
		}
		x.now = next
		next.resume <- struct{}{}
		next.ended = !<-next.paused
	}
}

// choose is the script's choice, or the first way on.
func (x *explorer) choose(ways int) int {
	if x.at == len(x.script) {
		x.script = append(x.script, 0)
	}
	x.ways = append(x.ways, ways)
	x.at++
	return x.script[x.at-1]
}

// next moves the script on to the next order.
func (x *explorer) next() bool {
	x.script = x.script[:x.at]
	for n := len(x.script) - 1; n >= 0; n-- {
		if x.script[n]++; x.script[n] < x.ways[n] {
			x.script = x.script[:n+1]
			return true
		}
	}
	return false
}

// scene is a chip with a processor and three devices that share level-triggered pin 16.
type scene struct {
	*IOAPIC
	cpu      processor
	devices  [3]*Source
	away     bool // nobody is at destination 9
	served   int
	spurious int
	later    int
	vector   uint8 // what RouteChanged was told last
	untold   int   // messages with another vector
}

func (s *scene) Deliver(m Message) Acceptance {
	away := m.Dest == absent && s.away
	step()
	if m.Vector != s.vector {
		s.untold++
	}
	if away {
		return Nobody
	}
	if s.cpu.irr[m.Vector/64].Or(1<<(m.Vector%64))>>(m.Vector%64)&1 != 0 {
		return Coalesced
	}
	return Delivered
}

func newScene(t *testing.T, routes bool) *scene {
	s := &scene{vector: 0x41}
	cfg := Config{Output: s, Later: func(int) { s.later++ }}
	if routes {
		cfg.RouteChanged = func(pin int) { step(); s.vector = s.RTE(pin).Vector() }
	}
	var err error
	if s.IOAPIC, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	for n := range s.devices {
		if s.devices[n], err = s.NewSource(16); err != nil {
			t.Fatal(err)
		}
	}
	s.low(level | 0x41)
	return s
}

func (s *scene) low(v uint32)   { half(s.IOAPIC, 16, 0, v) }
func (s *scene) high(d uint32)  { half(s.IOAPIC, 16, 1, d<<24) }
func (s *scene) ask(device int) { s.devices[device].Set(true) }

// handle is the processor taking a vector, if it waits: it serves who asks, and ends the interrupt.
func (s *scene) handle(vector uint8) bool {
	if !s.cpu.take(vector) {
		return false
	}
	served := s.served
	for _, d := range s.devices {
		if s.pins[16].sources.Load()&d.bit != 0 {
			d.Set(false)
			s.served++
		}
	}
	if s.served == served {
		s.spurious++
	}
	s.EOI(vector)
	return true
}

// TestOrders: in each scene, whatever the order, every request is served in the end and the entry is at rest; and unless the scene says
// that it may, the handler does not run for nothing.
func TestOrders(t *testing.T) {
	switches := 3
	if testing.Short() {
		switches = 2
	}
	for _, c := range []struct {
		what    string
		asks    int // requests, before and during
		mayWake bool
		routes  bool
		before  func(s *scene)
		threads func(s *scene) []func()
	}{
		{"two devices ask, and the processor handles", 2, false, false, func(s *scene) {}, func(s *scene) []func() {
			return []func(){func() { s.ask(0) }, func() { s.ask(1) }, func() { s.handle(0x41); s.handle(0x41) }}
		}},
		{"a device asks in service", 2, false, false, func(s *scene) { s.ask(2) }, func(s *scene) []func() {
			return []func(){func() { s.ask(0) }, func() { s.handle(0x41); s.handle(0x41) }}
		}},
		{"a device asks twice", 2, false, false, func(s *scene) {}, func(s *scene) []func() {
			return []func(){func() {
				s.ask(0)
				s.ask(1)
			}, func() { s.handle(0x41) }, func() { s.handle(0x41) }}
		}},
		{"masked and unmasked", 2, false, false, func(s *scene) { s.ask(2) }, func(s *scene) []func() {
			return []func(){func() { s.ask(0) }, func() { s.handle(0x41) }, func() { s.low(masked | level | 0x41); s.low(level | 0x41) }}
		}},
		{"redirected from nobody", 1, false, false, func(s *scene) { s.away = true; s.high(absent) }, func(s *scene) []func() {
			return []func(){func() { s.ask(0) }, func() { s.handle(0x41) }, func() { s.high(1) }}
		}},
		{"by way of nobody", 1, false, false, func(s *scene) { s.away = true }, func(s *scene) []func() {
			return []func(){func() { s.ask(0) }, func() { s.handle(0x41) }, func() { s.high(absent); s.high(1) }}
		}},
		{"somebody comes", 1, false, false, func(s *scene) { s.away = true; s.high(absent) }, func(s *scene) []func() {
			return []func(){func() { s.ask(0) }, func() { s.handle(0x41) }, func() { s.away = false; s.Redeliver(16) }}
		}},
		{"an owner who redelivers", 2, false, false, func(s *scene) { s.ask(2) }, func(s *scene) []func() {
			return []func(){func() { s.ask(0) }, func() { s.handle(0x41) }, func() { s.Redeliver(16) }}
		}},
		{"another vector, told", 1, false, true, func(s *scene) { s.low(masked | level | 0x41) }, func(s *scene) []func() {
			return []func(){func() { s.ask(0) }, func() { s.handle(0x42) }, func() { s.low(level | 0x42) }}
		}},
		{"another vector, nobody to tell", 1, false, false, func(s *scene) { s.low(masked | level | 0x41) }, func(s *scene) []func() {
			return []func(){func() { s.ask(0) }, func() { s.handle(0x42) }, func() { s.low(level | 0x42) }}
		}},
		{"Linux's way with remote IRR", 2, true, false, func(s *scene) { s.ask(2) }, func(s *scene) []func() {
			return []func(){func() { s.ask(0) }, func() { s.handle(0x41) }, func() { s.low(masked | 0x41); s.low(level | 0x41) }}
		}},
		{"an EOI too many, as from a pin with the same vector", 2, true, false, func(s *scene) { s.ask(2) }, func(s *scene) []func() {
			return []func(){func() { s.ask(0) }, func() { s.handle(0x41) }, func() { s.EOI(0x41) }}
		}},
	} {
		t.Run(c.what, func(t *testing.T) {
			var x explorer
			orders := 0
			for more := true; more; more = x.next() {
				s := newScene(t, c.routes)
				c.before(s)
				x.run(switches, c.threads(s))
				orders++
				for s.handle(0x41) || s.handle(0x42) {
				}
				if e := s.RTE(16); s.served != c.asks || e.RemoteIRR() || e.Pending() || s.later != 0 || !c.mayWake && s.spurious != 0 || c.routes && s.untold != 0 {
					t.Fatalf("order %d: served %d of %d, %d times for nothing, %d messages by untold routes, later %d, entry %#x; %v",
						orders, s.served, c.asks, s.spurious, s.untold, s.later, uint64(e), x.script)
				}
			}
			t.Logf("%d orders", orders)
		})
	}
}
