package irqchip

import (
	"errors"
	"slices"
	"testing"

	"doorbell/internal/kvm"
	"doorbell/internal/pci"

	"pgregory.net/rapid"
)

// table is KVM as far as messages sees it: the table last set, and which eventfd is bound to which GSI.
type table struct {
	t      rapid.TB
	limit  int
	refuse bool
	routes map[uint32]pci.Message
	chips  int
	bound  map[int]uint32
}

func (k *table) SetGSIRouting(routes []kvm.Route) error {
	if k.refuse {
		return errors.New("refused")
	}
	if len(routes) > k.limit {
		k.t.Fatalf("%d routes, KVM takes %d", len(routes), k.limit)
	}
	k.routes, k.chips = map[uint32]pci.Message{}, 0
	for _, r := range routes {
		if r.Chip != nil {
			k.chips++
			continue
		}
		if _, ok := k.routes[r.MSI.GSI]; ok || r.MSI.GSI < ioapicPins {
			k.t.Fatalf("GSI %d is a pin or routed twice", r.MSI.GSI)
		}
		k.routes[r.MSI.GSI] = pci.Message{Address: uint64(r.MSI.AddressHi)<<32 | uint64(r.MSI.AddressLo), Data: r.MSI.Data}
	}
	for fd, gsi := range k.bound {
		if _, ok := k.routes[gsi]; !ok {
			k.t.Fatalf("eventfd %d is bound to GSI %d, whose route is gone", fd, gsi)
		}
	}
	return nil
}

func (k *table) IRQFD(gsi uint32, fd int) error       { k.bound[fd] = gsi; return nil }
func (k *table) RemoveIRQFD(gsi uint32, fd int) error { delete(k.bound, fd); return nil }

// TestMessages: whatever is routed, released and refused in whatever order, KVM's table is what was asked for, with the chips' pins in
// it, and a refused batch changes nothing.
func TestMessages(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const limit = 48 // 40 of them pins
		k := &table{t: t, limit: limit, routes: map[uint32]pci.Message{}, bound: map[int]uint32{}}
		m := newMessages(k, pcRoutes(), limit)
		vectors := make([]pci.Vector, 12)
		for i := range vectors {
			v, err := m.NewVector("d", i)
			if err != nil {
				t.Fatal(err)
			}
			defer m.Remove(v)
			vectors[i] = v
		}
		want := map[int]pci.Message{} // by vector
		connected := map[int]bool{}
		idle := func(i int) bool { return !connected[i] }
		pick := func() []int {
			some := rapid.SliceOfNDistinct(rapid.IntRange(0, len(vectors)-1), 1, 6, rapid.ID[int]).Draw(t, "vectors")
			return slices.DeleteFunc(some, func(i int) bool { return !idle(i) })
		}
		t.Repeat(map[string]func(*rapid.T){
			"route": func(t *rapid.T) {
				k.refuse = rapid.IntRange(0, 4).Draw(t, "refuse") == 0
				defer func() { k.refuse = false }()
				var batch []pci.Route
				then := map[int]pci.Message{}
				for v, msg := range want {
					then[v] = msg
				}
				for _, i := range pick() {
					msg := pci.Message{Address: 0xfee00000 + uint64(rapid.IntRange(0, 3).Draw(t, "cpu"))<<12, Data: uint32(rapid.IntRange(32, 40).Draw(t, "vector"))}
					batch = append(batch, pci.Route{Vector: vectors[i], Message: msg})
					then[i] = msg
				}
				err := m.SetRoutes(batch)
				full := len(then) > limit-len(pcRoutes())
				if full && err == nil {
					t.Fatalf("%d messages fit into a table of %d", len(then), limit)
				}
				if err == nil {
					want = then
				} else if !full && !k.refuse {
					t.Fatal(err)
				}
			},
			"release": func(t *rapid.T) {
				var batch []pci.Vector
				for _, i := range pick() {
					if _, ok := want[i]; ok {
						batch = append(batch, vectors[i])
						delete(want, i)
					}
				}
				m.Release(batch)
			},
			"connect": func(t *rapid.T) {
				for i := range want {
					if idle(i) && rapid.Bool().Draw(t, "connect") {
						if err := vectors[i].Connect(); err != nil {
							t.Fatal(err)
						}
						connected[i] = true
					}
				}
			},
			"disconnect": func(t *rapid.T) {
				for i := range vectors {
					if !idle(i) && rapid.Bool().Draw(t, "disconnect") {
						if err := vectors[i].Disconnect(); err != nil {
							t.Fatal(err)
						}
						delete(connected, i)
					}
				}
			},
			"": func(t *rapid.T) {
				if len(k.routes) != len(want) {
					t.Fatalf("KVM has %d messages, want %d", len(k.routes), len(want))
				}
				if m.TableChanges() > 0 && len(want) > 0 && k.chips != len(pcRoutes()) {
					t.Fatalf("KVM has %d pins, want %d", k.chips, len(pcRoutes()))
				}
				for i, msg := range want {
					if got := k.routes[uint32(vectors[i].(*MessageVector).gsi)]; got != msg {
						t.Fatalf("vector %d goes to %+v, want %+v", i, got, msg)
					}
				}
			},
		})
	})
}

// TestUnchangedRoutesCostNothing: each change of the table disturbs every vCPU.
func TestUnchangedRoutesCostNothing(t *testing.T) {
	k := &table{limit: 100, routes: map[uint32]pci.Message{}, bound: map[int]uint32{}}
	m := newMessages(k, nil, 100)
	var batch []pci.Route
	var vectors []pci.Vector
	for i := range 5 {
		v, err := m.NewVector("d", i)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Remove(v)
		vectors = append(vectors, v)
		batch = append(batch, pci.Route{Vector: v, Message: pci.Message{Address: 0xfee00000, Data: uint32(i)}})
	}
	for _, step := range []struct {
		do   func()
		want uint64
	}{
		{func() { m.SetRoutes(batch) }, 1},
		{func() { m.SetRoutes(batch) }, 1},
		{func() { batch[0].Message.Data = 9; m.SetRoutes(batch) }, 2},
		{func() { m.Release(vectors) }, 3},
		{func() { m.Release(vectors) }, 3},
	} {
		step.do()
		if n := m.TableChanges(); n != step.want {
			t.Errorf("the table was replaced %d times, want %d", n, step.want)
		}
	}
}

func TestPendingCount(t *testing.T) {
	k := &table{limit: 1, bound: map[int]uint32{}}
	m := newMessages(k, nil, 1)
	v, err := m.NewVector("d", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Remove(v)
	for _, n := range []int{0, 1, 3} {
		for range n {
			v.Fire()
		}
		if got := v.Take(); got != uint64(n) {
			t.Errorf("fired %d times, %d are pending", n, got)
		}
	}
	if n := testing.AllocsPerRun(100, v.Fire); n != 0 {
		t.Errorf("%v allocations per interrupt", n)
	}
}

func BenchmarkFire(b *testing.B) {
	m := newMessages(&table{}, nil, 1)
	v, err := m.NewVector("d", 0)
	if err != nil {
		b.Fatal(err)
	}
	defer m.Remove(v)
	b.ReportAllocs()
	for b.Loop() {
		v.Fire()
	}
}
