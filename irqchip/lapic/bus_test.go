package lapic

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"doorbell/internal/pci"

	"pgregory.net/rapid"
)

// party is a bus with APICs on it and a list of those that were kicked.
type party struct {
	*Bus
	apics  []*APIC
	kicked []int
}

// newParty connects an APIC for each ID: software-enabled, and in x2APIC mode if asked.
func newParty(t testing.TB, x2 bool, ids ...uint32) *party {
	p := new(party)
	var err error
	if p.Bus, err = NewBus(len(ids), func(v int) { p.kicked = append(p.kicked, v) }); err != nil {
		t.Fatal(err)
	}
	for i, id := range ids {
		a, err := p.Connect(i, Config{ID: id, BSP: true, X2APIC: x2})
		if err != nil {
			t.Fatal(err)
		}
		a.writeSVR(0x1ff)
		p.apics = append(p.apics, a)
	}
	return p
}

// takers are the vCPUs that find vector v, and forget it.
func (p *party) takers(v uint8) (who []int) {
	for i, a := range p.apics {
		a.Sync()
		if a.irr.has(v) {
			who = append(who, i)
			a.irr.clear(v)
		}
	}
	return who
}

func put(a *APIC, off uint64, v uint32) {
	a.Write(off, []byte{byte(v), byte(v >> 8), byte(v >> 16), byte(v >> 24)})
}

// TestIPIs: what each kind of destination in ICR reaches, and who is kicked.
func TestIPIs(t *testing.T) {
	flat := func(p *party) {
		for i, a := range p.apics {
			put(a, 0xd0, 1<<(24+i))
		}
	}
	cluster := func(p *party) { // two clusters of two
		for i, a := range p.apics {
			put(a, 0xe0, 0)
			put(a, 0xd0, uint32(i/2)<<28|1<<(24+i%2))
		}
	}
	nothing := func(*party) {}
	for _, c := range []struct {
		name   string
		setup  func(*party)
		icr    uint32
		dest   uint32
		takers []int
	}{
		{"physical", nothing, 0x40, 2, []int{2}},
		{"physical, nobody", nothing, 0x40, 77, nil},
		{"physical, oneself", nothing, 0x40, 1, []int{1}},
		{"physical broadcast", nothing, 0x40, 0xff, []int{0, 1, 2, 3}},
		{"two with one ID", func(p *party) { put(p.apics[3], 0x20, 2<<24) }, 0x40, 2, []int{2, 3}},
		{"logical, LDR not set", nothing, 0x40 | 1<<11, 0xff, nil},
		{"flat", flat, 0x40 | 1<<11, 0b1010, []int{1, 3}},
		{"flat, all", flat, 0x40 | 1<<11, 0xff, []int{0, 1, 2, 3}},
		{"cluster", cluster, 0x40 | 1<<11, 0x13, []int{2, 3}},
		{"cluster, one", cluster, 0x40 | 1<<11, 0x02, []int{1}},
		{"cluster, nobody", cluster, 0x40 | 1<<11, 0x21, nil},
		{"cluster, all", cluster, 0x40 | 1<<11, 0xff, []int{0, 1, 2, 3}},
		{"undefined model", func(p *party) { flat(p); put(p.apics[0], 0xe0, 0x70000000) }, 0x40 | 1<<11, 0b11, []int{1}},
		{"self", nothing, 0x40 | 1<<18, 2, []int{1}},
		{"all", nothing, 0x40 | 2<<18, 2, []int{0, 1, 2, 3}},
		{"all but self", nothing, 0x40 | 3<<18, 2, []int{0, 2, 3}},
		{"software-disabled", func(p *party) { put(p.apics[2], 0xf0, 0xff) }, 0x40 | 3<<18, 0, []int{0, 3}},
		{"disabled", func(p *party) { _ = p.apics[2].WriteMSR(0x1b, 0xfee00000) }, 0x40 | 3<<18, 0, []int{0, 3}},
		{"an IPI is an edge", nothing, 0x40 | 1<<15, 2, []int{2}},
		{"reserved mode", nothing, 0x340, 2, nil},
		{"ExtINT", nothing, 0x740, 2, nil},
	} {
		p := newParty(t, false, 0, 1, 2, 3)
		c.setup(p)
		put(p.apics[1], 0x310, c.dest<<24)
		put(p.apics[1], 0x300, c.icr)
		if got := p.takers(0x40); !slices.Equal(got, c.takers) {
			t.Errorf("%s: %v, want %v", c.name, got, c.takers)
		}
		if want := slices.DeleteFunc(slices.Clone(c.takers), func(v int) bool { return v == 1 }); !slices.Equal(p.kicked, want) {
			t.Errorf("%s: kicked %v, want %v", c.name, p.kicked, want)
		}
		for _, a := range p.apics {
			if a.tmr != (bitmap{}) {
				t.Errorf("%s: TMR is set", c.name)
			}
		}
	}
}

// TestX2APICIPIs: IDs of 32 bits, clusters of sixteen.
func TestX2APICIPIs(t *testing.T) {
	ids := []uint32{0, 1, 0xf, 0x10, 0xff, 0x100, 0x105, 0x10005}
	for _, c := range []struct {
		icr    uint64
		takers []int
	}{
		{0xff<<32 | 0x40, []int{4}},
		{0x10005<<32 | 0x40, []int{7}},
		{0xffffffff<<32 | 0x40, []int{0, 1, 2, 3, 4, 5, 6, 7}},
		{0xffffffff<<32 | 0x40 | 1<<11, []int{0, 1, 2, 3, 4, 5, 6, 7}},
		{0x00008003<<32 | 0x40 | 1<<11, []int{0, 1, 2}},
		{0x00010001<<32 | 0x40 | 1<<11, []int{3}},
		{0x00100021<<32 | 0x40 | 1<<11, []int{5, 6}},
		{0x10000020<<32 | 0x40 | 1<<11, []int{7}},
		{0xfffffffe<<32 | 0x40 | 1<<11, nil},
		{0x40 | 3<<18, []int{0, 2, 3, 4, 5, 6, 7}},
	} {
		p := newParty(t, true, ids...)
		if err := p.apics[1].WriteMSR(0x830, c.icr); err != nil {
			t.Fatal(err)
		}
		if got := p.takers(0x40); !slices.Equal(got, c.takers) {
			t.Errorf("ICR %#x: %v, want %v", c.icr, got, c.takers)
		}
	}
}

// TestEventIPIs: what has no vector, and who must be enabled to take it.
func TestEventIPIs(t *testing.T) {
	for _, c := range []struct {
		icr  uint32
		want Events
	}{
		{0x400, Events{NMI: true}}, {0x200, Events{SMI: true}}, {0x500, Events{INIT: true}}, {0x4500, Events{INIT: true}},
		{0xc500, Events{INIT: true}}, {0x8500, Events{}}, {0x69a, Events{}},
	} {
		p := newParty(t, false, 0, 1)
		put(p.apics[1], 0xf0, 0xff)
		put(p.apics[0], 0x310, 1<<24)
		put(p.apics[0], 0x300, c.icr)
		p.apics[1].Sync()
		if got := p.apics[1].Events(); got != c.want {
			t.Errorf("ICR %#x: %+v, want %+v", c.icr, got, c.want)
		}
	}
	// The sequence that starts a processor, to all others at once.
	b, err := NewBus(3, nil)
	if err != nil {
		t.Fatal(err)
	}
	var apics []*APIC
	for i := range 3 {
		a, err := b.Connect(i, Config{ID: uint32(i), BSP: i == 0})
		if err != nil {
			t.Fatal(err)
		}
		apics = append(apics, a)
	}
	for _, v := range []uint32{0xc4500, 0xc4608, 0xc4608} {
		put(apics[0], 0x300, v)
	}
	for i, a := range apics {
		a.Sync()
		want := Events{INIT: true, SIPI: true, Vector: 8}
		if i == 0 {
			want = Events{}
		}
		if got := a.Events(); got != want || a.Waiting() {
			t.Errorf("vCPU %d: %+v", i, got)
		}
	}
	if got := apics[0].Stats().IPIs; !slices.Equal(got, []IPIStats{{INIT, AllButSelf, 1}, {StartUp, AllButSelf, 2}}) {
		t.Errorf("IPIs: %v", got)
	}
}

// TestLowestPriorityIsFair: everybody gets the same share, also while another vector interferes.
func TestLowestPriorityIsFair(t *testing.T) {
	p := newParty(t, false, 0, 1, 2, 3, 4)
	put(p.apics[2], 0xf0, 0xff)
	var got [5]int
	for range 400 {
		r := p.Send(Message{Vector: 0x40, Mode: LowestPriority, Dest: Broadcast, Level: true})
		if r != (Result{Accepted: 1}) {
			t.Fatalf("%+v", r)
		}
		p.Send(Message{Vector: 0x41, Mode: LowestPriority, Dest: Broadcast, Level: true})
		who := p.takers(0x40)
		if len(who) != 1 {
			t.Fatalf("%v took it", who)
		}
		got[who[0]]++
	}
	if got != [5]int{100, 100, 0, 100, 100} {
		t.Errorf("shares: %v", got)
	}
}

func TestMSI(t *testing.T) {
	for _, c := range []struct {
		msi    pci.Message
		want   Message
		ok     bool
		result Result
	}{
		{pci.Message{Address: 0xfee01000, Data: 0x4041}, Message{Vector: 0x41, Dest: 1, Level: true}, true, Result{1, 0}},
		{pci.Message{Address: 0xfee01000, Data: 0xc041}, Message{Vector: 0x41, Dest: 1, Level: true, Trigger: true}, true, Result{1, 0}},
		{pci.Message{Address: 0xfee01000, Data: 0x8041}, Message{Vector: 0x41, Dest: 1, Trigger: true}, true, Result{}},
		{pci.Message{Address: 0xfeeff000, Data: 0x0041}, Message{Vector: 0x41, Dest: Broadcast}, true, Result{3, 0}},
		{pci.Message{Address: 0xfeeff008, Data: 0x0041}, Message{Vector: 0x41, Dest: Broadcast, Mode: LowestPriority}, true, Result{1, 0}},
		{pci.Message{Address: 0xfeeff004, Data: 0x0041}, Message{Vector: 0x41, Dest: 0xff, Logical: true}, true, Result{}},
		{pci.Message{Address: 0x100_fee05000, Data: 0x0441}, Message{Vector: 0x41, Dest: 0x105, Mode: NMI}, true, Result{}},
		{pci.Message{Address: 0xfee01000, Data: 0x0608}, Message{Vector: 8, Dest: 1, Mode: StartUp}, true, Result{}},
		{pci.Message{Address: 0xfee01000, Data: 0x0700}, Message{Dest: 1, Mode: ExtINT}, true, Result{1, 0}},
		{pci.Message{Address: 0xfee01000, Data: 0x0300}, Message{Dest: 1, Mode: 3}, true, Result{}},
		{pci.Message{Address: 0xfee01000, Data: 0x0005}, Message{Vector: 5, Dest: 1}, true, Result{}},
		{pci.Message{Address: 0xfed01000, Data: 0x41}, Message{}, false, Result{}},
	} {
		m, ok := DecodeMSI(c.msi)
		if m != c.want || ok != c.ok {
			t.Errorf("%#x, %#x is %v, %v; want %v", c.msi.Address, c.msi.Data, m, ok, c.want)
		}
		p := newParty(t, false, 0, 1, 2)
		if r, ok := p.SendMSI(c.msi); r != c.result || ok != c.ok {
			t.Errorf("%v: %+v, %v", m, r, ok)
		}
		if c.msi.Data == 0xc041 {
			if p.apics[1].Sync(); !p.apics[1].tmr.has(0x41) {
				t.Error("a level-triggered MSI does not set TMR")
			}
		}
	}
	p := newParty(t, false, 0)
	p.SendMSI(pci.Message{Address: 0xfee00000, Data: 0x41})
	if r, _ := p.SendMSI(pci.Message{Address: 0xfee00000, Data: 0x41}); r != (Result{1, 1}) {
		t.Errorf("the second of two: %+v", r)
	}
	if s := p.Bus.Stats(); s != (BusStats{Sent: 2, Kicks: 1}) {
		t.Errorf("%+v", s)
	}
}

func TestBusErrors(t *testing.T) {
	for _, n := range []int{-1, 0, MaxAPICs + 1} {
		if _, err := NewBus(n, nil); err == nil {
			t.Errorf("a bus with %d APICs", n)
		}
	}
	b, err := NewBus(2, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []int{-1, 2} {
		if _, err := b.Connect(v, Config{}); err == nil {
			t.Errorf("vCPU %d is connected", v)
		}
	}
	if _, err := b.Connect(0, Config{ID: Broadcast}); err == nil {
		t.Error("an APIC with the broadcast's ID is connected")
	}
	if r := b.Send(Message{Vector: 0x40, Dest: Broadcast}); r != (Result{}) {
		t.Errorf("a message to an empty bus: %+v", r)
	}
}

// reaches is the slow way to say whether a message concerns an APIC, for one APIC at a time and by the words of the manual.
func reaches(m Message, from, vcpu int, a Address) bool {
	if a.Mode == Disabled {
		return false
	}
	switch m.Shorthand {
	case Self:
		return vcpu == from
	case All:
		return true
	case AllButSelf:
		return vcpu != from
	}
	if m.Dest == 0xffffffff {
		return true
	}
	if !m.Logical {
		return a.ID == m.Dest
	}
	if a.Mode == X2APIC {
		cluster, member := a.ID/16, a.ID%16
		return m.Dest/65536 == cluster && m.Dest%65536&(1<<member) != 0
	}
	if m.Dest > 255 || a.LDR == 0 {
		return false
	}
	switch a.DFR {
	case 15:
		return uint32(a.LDR)&m.Dest != 0
	case 0:
		return m.Dest == 255 || uint32(a.LDR)/16 == m.Dest/16 && uint32(a.LDR)%16&(m.Dest%16) != 0
	}
	return false
}

// TestRoutes compares the tables with the slow way, over mixed modes and repeated moves.
func TestRoutes(t *testing.T) {
	address := rapid.Custom(func(t *rapid.T) Address {
		switch AddressingMode(rapid.IntRange(0, 2).Draw(t, "mode")) {
		case XAPIC:
			return Address{
				Mode: XAPIC, ID: rapid.Uint32Range(0, 20).Draw(t, "id"), LDR: rapid.Uint8().Draw(t, "ldr"),
				DFR: rapid.SampledFrom([]uint8{15, 15, 0, 0, 7}).Draw(t, "dfr"),
			}
		case X2APIC:
			return Address{Mode: X2APIC, ID: rapid.OneOf(rapid.Uint32Range(0, 40), rapid.Uint32Range(0xffffff00, 0xfffffffe)).Draw(t, "id")}
		}
		return Address{}
	})
	dest := rapid.OneOf(rapid.Uint32Range(0, 40), rapid.Uint32Range(0, 255), rapid.Uint32(), rapid.Just(uint32(Broadcast)),
		rapid.Uint32Range(0, 0x2ffff), rapid.Uint32Range(0xfffff000, 0xffffffff))
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.SampledFrom([]int{1, 2, 7, 64, 65, 130}).Draw(t, "vCPUs")
		b, err := NewBus(n, nil)
		if err != nil {
			t.Fatal(err)
		}
		at := make([]Address, n)
		for range rapid.IntRange(0, 40).Draw(t, "moves") {
			v := rapid.IntRange(0, n-1).Draw(t, "vcpu")
			at[v] = address.Draw(t, "to")
			b.move(v, at[v])
		}
		for range 10 {
			m := Message{
				Dest: dest.Draw(t, "dest"), Logical: rapid.Bool().Draw(t, "logical"),
				Shorthand: Shorthand(rapid.SampledFrom([]int{0, 0, 0, 1, 2, 3}).Draw(t, "shorthand")),
			}
			from := rapid.IntRange(-1, n-1).Draw(t, "from")
			var got set
			b.routes.Load().resolve(m, from, &got)
			count := 0
			for v := range n {
				want := reaches(m, from, v, at[v])
				if got.has(v) != want {
					t.Fatalf("%v from %d reaches %d (%+v): %v, want %v", m, from, v, at[v], got.has(v), want)
				}
				if want {
					count++
				}
			}
			if got.len() != count {
				t.Fatalf("%v reaches %d APICs, want %d", m, got.len(), count)
			}
		}
	})
}

// TestFullBus: the largest bus, and a message to everybody on it.
func TestFullBus(t *testing.T) {
	b, err := NewBus(MaxAPICs, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range MaxAPICs {
		b.move(i, Address{Mode: X2APIC, ID: uint32(MaxAPICs - 1 - i)})
		b.descriptors[i].accepting.Store(true)
	}
	if r := b.Send(Message{Vector: 0x40, Dest: Broadcast}); r.Accepted != MaxAPICs {
		t.Errorf("%+v", r)
	}
	if r := b.Send(Message{Vector: 0x40, Dest: 0}); r != (Result{1, 1}) || b.descriptors[MaxAPICs-1].pir[1].Load() != 1 {
		t.Errorf("%+v", r)
	}
}

// TestCrossfire: vCPUs send to each other while they move, as they bring their machine up. Nothing that was accepted is lost.
func TestCrossfire(t *testing.T) {
	const n = 4
	rounds := 5000
	if testing.Short() {
		rounds = 500
	}
	kicks := [n]chan struct{}{}
	for i := range kicks {
		kicks[i] = make(chan struct{}, 1)
	}
	b, err := NewBus(n, func(v int) {
		select {
		case kicks[v] <- struct{}{}:
		default:
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	apics := [n]*APIC{}
	for i := range apics {
		if apics[i], err = b.Connect(i, Config{ID: uint32(i), BSP: true}); err != nil {
			t.Fatal(err)
		}
		put(apics[i], 0xf0, 0x1ff)
	}
	var accepted, delivered atomic.Int64
	var running atomic.Int64
	running.Store(n)
	var owners sync.WaitGroup
	stop := make(chan struct{})
	for i, a := range apics {
		owners.Go(func() {
			drain := func() {
				for a.Sync(); ; {
					v, ok := a.Accept()
					if !ok {
						return
					}
					if ended, _, _ := a.EOI(); ended != v {
						t.Errorf("vCPU %d: EOI of %#x, want %#x", i, ended, v)
					}
					delivered.Add(1)
				}
			}
			for r := range rounds {
				put(a, 0xd0, uint32(r)<<24)
				put(a, 0x20, uint32(i+r%2*n)<<24)
				put(a, 0x310, uint32((i+1)%n)<<24)
				put(a, 0x300, uint32(0x40+i*16+r%16))
				put(a, 0x300, 3<<18|uint32(0x80+i*16+r%16))
				res := b.Send(Message{Vector: uint8(0xc0 + i), Mode: LowestPriority, Dest: Broadcast, Level: true})
				accepted.Add(int64(res.Accepted))
				drain()
			}
			running.Add(-1)
			for {
				select {
				case <-kicks[i]:
					drain()
				case <-stop:
					drain()
					return
				}
			}
		})
	}
	for running.Load() > 0 {
		runtime.Gosched()
	}
	close(stop)
	owners.Wait()
	if accepted.Load() != int64(n*rounds) {
		t.Errorf("%d of %d messages of lowest priority accepted", accepted.Load(), n*rounds)
	}
	var sum VectorStats
	for _, a := range apics {
		for _, v := range a.Stats().Vectors {
			sum.Raised += v.Raised
			sum.Coalesced += v.Coalesced
			sum.Delivered += v.Delivered
			sum.Dropped += v.Dropped
			sum.Ended += v.Ended
		}
	}
	if sum.Raised != sum.Coalesced+sum.Delivered || sum.Delivered != uint64(delivered.Load()) || sum.Ended != sum.Delivered {
		t.Errorf("the account does not add up: %+v, %d delivered", sum, delivered.Load())
	}
}

func TestStrings(t *testing.T) {
	for want, got := range map[string]fmt.Stringer{
		"fixed, vector 0x40, to logical 0x3, edge":       Message{Vector: 0x40, Dest: 3, Logical: true},
		"NMI, vector 0x0, to all-but-self, level":        Message{Mode: NMI, Shorthand: AllButSelf, Trigger: true},
		"SIPI, vector 0x8, to physical 0xffffffff, edge": Message{Mode: StartUp, Vector: 8, Dest: Broadcast},
		"x2APIC": X2APIC, "disabled": Disabled, "self": Self, "lowest-priority": LowestPriority,
	} {
		if got.String() != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
