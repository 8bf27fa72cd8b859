package lapic

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// interrupt is one vector on its way, for a model that has no bitmaps.
type interrupt struct {
	vector int
	where  string // "PIR", "IRR" or "ISR"
}

// model is the APIC as the manual tells it: a list of interrupts, and everything else recomputed from what software has written.
type model struct {
	bsp  bool
	base uint64
	list []interrupt

	level     map[int]bool // how a vector was accepted last
	posted    map[int]bool // how it was posted last
	tpr       int
	svr       uint32
	xid       uint32
	ldr, dfr  uint32
	lvt       map[string]uint32
	esr, seen uint32
	errorSent bool

	waiting        bool
	init, sipi     bool // posted, the second after the first
	nmi, postedNMI bool
	illegal        bool // a vector below 16 is posted

	// The timer: when it was started and with what; the rest follows from the time.
	ticr, tdcr uint32
	started    int64 // when the count was TICR last
	running    bool
	deadline   uint64
	missed     uint64
}

func newModel(bsp bool) *model {
	m := &model{bsp: bsp, xid: 5, waiting: !bsp, base: 0xfee00800}
	if bsp {
		m.base |= 0x100
	}
	m.clear()
	return m
}

// clear is what INIT and the hardware's disabling have in common.
func (m *model) clear() {
	m.list, m.level = nil, map[int]bool{}
	if m.posted == nil {
		m.posted = map[int]bool{}
	}
	m.tpr, m.svr, m.ldr, m.dfr, m.esr, m.seen, m.errorSent = 0, 0xff, 0, 15, 0, 0, false
	m.lvt = map[string]uint32{"timer": 0x10000, "LINT1": 0x10000, "error": 0x10000}
	m.ticr, m.tdcr, m.running, m.deadline = 0, 0, false, 0
}

func (m *model) in(where string) (vectors []int) {
	for _, i := range m.list {
		if i.where == where {
			vectors = append(vectors, i.vector)
		}
	}
	slices.Sort(vectors)
	return vectors
}

func (m *model) top(where string) int {
	if v := m.in(where); len(v) > 0 {
		return v[len(v)-1]
	}
	return 0
}

// put adds an interrupt unless the same is there already.
func (m *model) put(vector int, where string) {
	if !slices.Contains(m.list, interrupt{vector, where}) {
		m.list = append(m.list, interrupt{vector, where})
	}
}

func (m *model) take(vector int, where string) {
	m.list = slices.DeleteFunc(m.list, func(i interrupt) bool { return i == interrupt{vector, where} })
}

func (m *model) enabled() bool { return m.base&0x800 != 0 && m.svr&0x100 != 0 }

func (m *model) accept(vector int, level bool) {
	if vector < 16 {
		m.error(0x40)
	} else if m.enabled() {
		m.put(vector, "IRR")
		m.level[vector] = level
	}
}

func (m *model) error(bit uint32) {
	m.seen |= bit
	if l := m.lvt["error"]; l&0x10000 == 0 && !m.errorSent {
		m.errorSent = true
		m.accept(int(l&0xff), false)
	}
}

func (m *model) sync() {
	if m.init {
		m.init, m.nmi = false, false
		m.clear()
		m.waiting = m.base&0x100 == 0
	}
	if m.sipi {
		m.sipi, m.waiting = false, false
	}
	m.nmi = m.nmi || m.postedNMI
	m.postedNMI = false
	if m.illegal {
		m.illegal = false
		m.error(0x40)
	}
	m.fetch()
}

// fetch accepts or loses what is posted.
func (m *model) fetch() {
	for _, v := range m.in("PIR") {
		m.take(v, "PIR")
		m.accept(v, m.posted[v])
	}
}

func (m *model) ppr() int {
	if isrv := m.top("ISR"); isrv/16 > m.tpr/16 {
		return isrv / 16 * 16
	}
	return m.tpr
}

func (m *model) pending() int {
	if v := m.top("IRR"); v/16 > m.ppr()/16 && !m.waiting && m.base&0x800 != 0 {
		return v
	}
	return -1
}

func (m *model) divisor() int64 {
	return map[uint32]int64{0: 2, 1: 4, 2: 8, 3: 16, 8: 32, 9: 64, 10: 128, 11: 1}[m.tdcr]
}

// expire lets the timer run to a time, period by period.
func (m *model) expire(now int64) {
	fired := 0
	switch mode := m.lvt["timer"] >> 17; {
	case mode == 2 && m.deadline != 0 && uint64(now)*3 >= m.deadline:
		m.deadline, fired = 0, 1
	case mode == 0 && m.running && now >= m.started+int64(m.ticr)*m.divisor():
		m.running, fired = false, 1
	case mode == 1 && m.running:
		period := int64(m.ticr) * m.divisor()
		if period < 200_000 {
			period = 200_000
		}
		for now >= m.started+period {
			m.started += period
			fired++
		}
	}
	if fired > 0 && m.lvt["timer"]&0x10000 == 0 {
		m.missed += uint64(fired - 1)
		m.accept(int(m.lvt["timer"]&0xff), false)
	}
}

// vectorsOf are the vectors in a register of 256 bits.
func vectorsOf(b bitmap) (vectors []int) {
	for v := range 256 {
		if b.register(v/32)>>(v%32)&1 != 0 {
			vectors = append(vectors, v)
		}
	}
	return vectors
}

// machine is the APIC and its model, driven together.
type machine struct {
	*bench
	m *model
}

// write is a write to a register in the mode of the moment; nothing happens while the APIC is disabled.
func (d *machine) write(t *rapid.T, reg, v uint32) bool {
	switch d.Mode() {
	case XAPIC:
		d.put(uint64(reg)*16, v)
	case X2APIC:
		if err := d.WriteMSR(0x800+reg, uint64(v)); err != nil {
			t.Fatalf("WRMSR %#x of %#x: %v", 0x800+reg, v, err)
		}
	default:
		d.put(uint64(reg)*16, v)
		return false
	}
	return true
}

func (d *machine) read(t *rapid.T, reg uint32) uint32 {
	if d.Mode() == XAPIC {
		return d.bench.get(uint64(reg) * 16)
	}
	v, err := d.ReadMSR(0x800 + reg)
	if err != nil {
		t.Fatalf("RDMSR %#x: %v", 0x800+reg, err)
	}
	return uint32(v)
}

// check compares everything that can be seen.
func (d *machine) check(t *rapid.T) {
	m := d.m
	equal := func(what string, got, want any) {
		if got != want {
			t.Fatalf("%s is %v, the model has %v", what, got, want)
		}
	}
	equal("pending", d.pending(), m.pending())
	equal("waiting", d.Waiting(), m.waiting)
	equal("missed", d.Stats().TimerMissed, m.missed)
	base, _ := d.ReadMSR(0x1b)
	equal("IA32_APIC_BASE", base, m.base)
	if !slices.Equal(vectorsOf(d.irr), m.in("IRR")) || !slices.Equal(vectorsOf(d.isr), m.in("ISR")) {
		t.Fatalf("IRR %v and ISR %v, the model has %v and %v", vectorsOf(d.irr), vectorsOf(d.isr), m.in("IRR"), m.in("ISR"))
	}
	for v, level := range m.level {
		equal("trigger mode", d.tmr.has(uint8(v)), level)
	}
	if d.Mode() == Disabled {
		return
	}
	equal("TPR", d.read(t, 0x08), uint32(m.tpr))
	equal("PPR", d.read(t, 0x0a), uint32(m.ppr()))
	equal("SVR", d.read(t, 0x0f), m.svr)
	equal("ESR", d.read(t, 0x28), m.esr)
	equal("LVT timer", d.read(t, 0x32), m.lvt["timer"])
	equal("LVT LINT1", d.read(t, 0x36), m.lvt["LINT1"])
	equal("LVT error", d.read(t, 0x37), m.lvt["error"])
	equal("TICR", d.read(t, 0x38), m.ticr)
	equal("TDCR", d.read(t, 0x3e), m.tdcr)
	for i := range uint32(8) {
		var want uint32
		for _, v := range m.in("ISR") {
			if v/32 == int(i) {
				want |= 1 << (v % 32)
			}
		}
		equal("ISR register", d.read(t, 0x10+i), want)
	}
	if d.Mode() == XAPIC {
		equal("ID", d.read(t, 0x02), m.xid<<24)
		equal("LDR", d.read(t, 0x0d), m.ldr<<24)
		equal("DFR", d.read(t, 0x0e), m.dfr<<28|0xfffffff)
	} else {
		equal("ID", d.read(t, 0x02), uint32(5))
		equal("LDR", d.read(t, 0x0d), uint32(1<<5))
	}
}

// TestAgainstModel drives the APIC and the model with the same operations.
func TestAgainstModel(t *testing.T) {
	vector := rapid.OneOf(rapid.Uint8Range(0x30, 0x5f), rapid.Uint8())
	lvtEntry := func(t *rapid.T, modes ...uint32) uint32 {
		v := uint32(vector.Draw(t, "vector")) | rapid.SampledFrom(modes).Draw(t, "mode")
		if rapid.IntRange(0, 3).Draw(t, "masked") == 0 {
			v |= 0x10000
		}
		return v
	}
	rapid.Check(t, func(t *rapid.T) {
		bsp := rapid.Bool().Draw(t, "bsp")
		d := &machine{bench: newBench(t, Config{ID: 5, BSP: bsp}), m: newModel(bsp)}
		m := d.m
		set := func(t *rapid.T, reg uint32, entry string, v uint32) {
			if d.write(t, reg, v) {
				if m.svr&0x100 == 0 {
					v |= 0x10000
				}
				m.lvt[entry] = v
			}
		}
		enable := func(t *rapid.T) {
			v := uint32(vector.Draw(t, "spurious")) | rapid.SampledFrom([]uint32{0, 0x100, 0x100, 0x100, 0x1100}).Draw(t, "enable")
			if !d.write(t, 0x0f, v) {
				return
			}
			if (m.svr^v)&0x100 != 0 {
				m.fetch() // before it is disabled; or to nowhere
			}
			if m.svr = v; v&0x100 == 0 {
				for e := range m.lvt {
					m.lvt[e] |= 0x10000
				}
			}
		}
		enable(t)
		t.Repeat(map[string]func(*rapid.T){
			"": d.check,
			"post": func(t *rapid.T) {
				v, level := vector.Draw(t, "vector"), rapid.Bool().Draw(t, "level")
				d.Descriptor().Post(v, level)
				if v >= 16 {
					m.put(int(v), "PIR")
					m.posted[int(v)] = level
				} else {
					m.illegal = true
				}
			},
			"sync": func(*rapid.T) {
				d.Sync()
				m.sync()
			},
			"NMI": func(t *rapid.T) {
				d.Descriptor().PostNMI()
				d.Sync()
				m.postedNMI = true
				m.sync()
			},
			"INIT": func(t *rapid.T) {
				// It is rare, and wipes out everything that was before.
				if rapid.IntRange(0, 4).Draw(t, "rare") > 0 {
					t.Skip("rare")
				}
				d.Descriptor().PostNMI()
				d.Descriptor().PostSIPI(3)
				d.Descriptor().PostINIT()
				m.init, m.sipi, m.postedNMI, m.illegal = true, false, false, false
				if rapid.Bool().Draw(t, "SIPI") {
					d.Descriptor().PostSIPI(7)
					m.sipi = true
				}
				d.Sync()
				m.sync()
				if !d.Events().INIT {
					t.Fatal("INIT is not told")
				}
			},
			"SIPI": func(t *rapid.T) {
				d.Descriptor().PostSIPI(8)
				d.Sync()
				if e := d.Events(); e.SIPI != m.waiting || e.SIPI && e.Vector != 8 {
					t.Fatalf("%+v, waiting %v", e, m.waiting)
				} else if e.NMI != (m.nmi || m.postedNMI) {
					t.Fatalf("NMI %v, the model has %v", e.NMI, m.nmi)
				}
				m.sipi = true
				m.sync()
				m.nmi = false
			},
			"events": func(t *rapid.T) {
				e := d.Events()
				if e.NMI != (m.nmi && !m.waiting) {
					t.Fatalf("NMI %v, the model has %v, waiting %v", e.NMI, m.nmi, m.waiting)
				}
				if e.NMI {
					m.nmi = false
				}
			},
			"accept": func(t *rapid.T) {
				want := m.pending()
				v, real := d.Accept()
				switch {
				case want < 0 && (real || uint32(v) != m.svr&0xff), want >= 0 && (!real || int(v) != want):
					t.Fatalf("acknowledged %#x, %v, the model has %#x", v, real, want)
				case want >= 0:
					m.take(want, "IRR")
					m.put(want, "ISR")
				}
			},
			"EOI": func(t *rapid.T) {
				*d.eois = nil
				if !d.write(t, 0x0b, 0) {
					return
				}
				v := m.top("ISR")
				m.take(v, "ISR")
				var want []uint8
				if v != 0 && m.level[v] && m.svr&0x1000 == 0 {
					want = []uint8{uint8(v)}
				}
				if !slices.Equal(*d.eois, want) {
					t.Fatalf("EOI broadcast %v, the model has %v", *d.eois, want)
				}
			},
			"TPR": func(t *rapid.T) {
				v := rapid.Uint8Range(0, 0x6f).Draw(t, "TPR")
				if rapid.Bool().Draw(t, "CR8") {
					d.SetCR8(v >> 4)
					m.tpr = int(v >> 4 << 4)
				} else if d.write(t, 0x08, uint32(v)) {
					m.tpr = int(v)
				}
			},
			"SVR":       enable,
			"LVT LINT1": func(t *rapid.T) { set(t, 0x36, "LINT1", lvtEntry(t, 0, 0x400)) },
			"LVT error": func(t *rapid.T) { set(t, 0x37, "error", lvtEntry(t, 0)) },
			"LVT timer": func(t *rapid.T) {
				was, v := m.lvt["timer"], lvtEntry(t, 0, 0x20000, 0x40000, 0x60000)
				if set(t, 0x32, "timer", v); d.Mode() == Disabled {
					return
				}
				if (was^v)>>17 != 0 && (was|v)&0x40000 != 0 {
					m.ticr, m.running, m.deadline = 0, false, 0
				} else if m.running && (was^v)>>17 != 0 {
					// From a mode with another period, the count goes on; the model restarts instead.
					n := rapid.Uint32Range(1, 3000).Draw(t, "TICR")
					d.write(t, 0x38, n)
					m.ticr, m.started = n, d.clock.now
				}
			},
			"TICR": func(t *rapid.T) {
				v := rapid.OneOf(rapid.Uint32Range(0, 1000), rapid.Uint32Range(100_000, 500_000)).Draw(t, "TICR")
				if d.write(t, 0x38, v) && m.lvt["timer"]&0x40000 == 0 {
					m.ticr, m.running, m.started = v, v != 0, d.clock.now
				}
			},
			"TDCR": func(t *rapid.T) {
				v := rapid.SampledFrom([]uint32{0, 1, 2, 3, 8, 9, 10, 11}).Draw(t, "TDCR")
				if d.Mode() == Disabled {
					return
				}
				// Stopped first: how a running count goes on has a test of its own.
				if m.running {
					d.write(t, 0x38, 0)
					m.ticr, m.running = 0, false
				}
				d.write(t, 0x3e, v)
				m.tdcr = v
			},
			"deadline": func(t *rapid.T) {
				v := d.clock.TSC() + rapid.Uint64Range(0, 3_000_000).Draw(t, "ticks")
				if err := d.WriteMSR(0x6e0, v); err != nil {
					t.Fatal(err)
				}
				if m.lvt["timer"]>>17 == 2 {
					m.deadline = v
				}
				m.expire(d.clock.now)
			},
			"time": func(t *rapid.T) {
				d.clock.now += rapid.OneOf(rapid.Int64Range(0, 10_000), rapid.Int64Range(0, 2_000_000), rapid.Just(int64(50_000_000))).Draw(t, "ns")
				d.Expire()
				m.expire(d.clock.now)
			},
			"until next": func(t *rapid.T) {
				at, ok := d.Next()
				if !ok {
					t.Skip("no timer")
				}
				// A nanosecond before it, nothing happens, and then it does.
				if at-1 > d.clock.now {
					d.clock.now = at - 1
					if d.Expire() {
						t.Fatal("the timer interrupts before Next")
					}
				}
				d.clock.now = max(at, d.clock.now)
				if !d.Expire() {
					t.Fatal("the timer does not interrupt at Next")
				}
				m.expire(d.clock.now)
			},
			"LINT1": func(t *rapid.T) {
				d.Sync() // of a pin and a post, the descriptor does not say which came first
				m.sync()
				d.Descriptor().LINT(1, true)
				d.Sync()
				d.Descriptor().LINT(1, false)
				d.Sync()
				switch l := m.lvt["LINT1"]; {
				case m.base&0x800 == 0:
					m.nmi = true
				case l&0x10000 != 0:
				case l&0x700 == 0x400:
					m.nmi = true
				default:
					m.accept(int(l&0xff), false)
				}
			},
			"self": func(t *rapid.T) {
				v := vector.Draw(t, "vector")
				if d.Mode() == X2APIC && rapid.Bool().Draw(t, "register") {
					d.write(t, 0x3f, uint32(v))
				} else if !d.write(t, 0x30, 1<<18|uint32(v)) {
					return
				}
				if v < 16 {
					m.error(0x20)
				}
				m.accept(int(v), false)
			},
			"ESR": func(t *rapid.T) {
				if d.write(t, 0x28, 0) {
					m.esr, m.seen, m.errorSent = m.seen, 0, false
				}
			},
			"address": func(t *rapid.T) {
				reg := rapid.SampledFrom([]uint32{0x02, 0x0d, 0x0e}).Draw(t, "register")
				v := uint32(rapid.Uint8().Draw(t, "value"))
				if d.Mode() != XAPIC {
					if d.WriteMSR(0x800+reg, uint64(v)) == nil {
						t.Fatal("no fault")
					}
					return
				}
				d.put(uint64(reg)*16, v<<24)
				switch reg {
				case 0x02:
					m.xid = v
				case 0x0d:
					m.ldr = v
				case 0x0e:
					m.dfr = v >> 4
				}
			},
			"reserved": func(t *rapid.T) {
				d.bench.get(0x40)
				if d.Mode() == XAPIC {
					m.error(0x80)
				}
			},
			"base": func(t *rapid.T) {
				flags := rapid.SampledFrom([]uint64{0, 0x800, 0xc00, 0x400, 0xc00}).Draw(t, "flags")
				if rapid.IntRange(0, 4).Draw(t, "rare") > 0 {
					t.Skip("rare")
				}
				v := m.base&^0xc00 | flags
				was := m.base & 0xc00
				good := map[[2]uint64]bool{
					{0, 0}: true, {0, 0x800}: true, {0x800, 0}: true, {0x800, 0x800}: true, {0x800, 0xc00}: true, {0xc00, 0}: true, {0xc00, 0xc00}: true,
				}[[2]uint64{was, flags}]
				if err := d.WriteMSR(0x1b, v); (err == nil) != good {
					t.Fatalf("from %#x to %#x: %v", was, flags, err)
				}
				if good {
					if m.base = v; flags == 0 && was != 0 {
						m.clear()
						m.xid = 5
					}
				}
			},
		})
		d.Sync()
		for _, v := range d.Stats().Vectors {
			waiting := uint64(0)
			if d.irr.has(v.Vector) {
				waiting = 1
			}
			if v.Raised != v.Coalesced+v.Delivered+v.Dropped+waiting {
				t.Fatalf("the account does not add up: %+v, %d waiting", v, waiting)
			}
		}
	})
}
