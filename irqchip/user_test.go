package irqchip

import (
	"sync"
	"testing"

	"doorbell/internal/pci"
	"doorbell/irqchip/ioapic"
	"doorbell/irqchip/lapic"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// userBench is the user controllers' bus with local APICs and without vCPUs: kicks are counted.
type userBench struct {
	bus   *lapic.Bus
	apics []*lapic.APIC
	kicks []int
}

func newUserBench(t interface {
	Helper()
	Fatal(args ...any)
}, n int) *userBench {
	t.Helper()
	b := &userBench{kicks: make([]int, n)}
	var mu sync.Mutex
	bus, err := lapic.NewBus(n, func(id int) {
		mu.Lock()
		b.kicks[id]++
		mu.Unlock()
	})
	if err != nil {
		t.Fatal(err)
	}
	b.bus = bus
	for id := range n {
		a, err := bus.Connect(id, lapic.Config{ID: uint32(id), BSP: true})
		if err != nil {
			t.Fatal(err)
		}
		a.VirtualWire()
		b.apics = append(b.apics, a)
	}
	return b
}

func (b *userBench) vector(n int) *userVector {
	return &userVector{bus: b.bus, device: "test", number: n, fd: -1}
}

// raised is how often the APIC's others have posted a vector.
func raised(a *lapic.APIC, vector uint8) (raised, coalesced uint64) {
	for _, v := range a.Stats().Vectors {
		if v.Vector == vector {
			return v.Raised, v.Coalesced
		}
	}
	return 0, 0
}

func msi(dest int, vector uint8) pci.Message {
	return pci.Message{Address: 0xfee00000 | uint64(dest)<<12, Data: uint32(vector)}
}

func route(t testing.TB, v *userVector, m pci.Message) {
	t.Helper()
	if err := (&User{}).SetRoutes([]pci.Route{{Vector: v, Message: m}}); err != nil {
		t.Fatal(err)
	}
}

// TestThreeSendersOneKick: two devices and an IPI that interrupt a running vCPU before it looks have it kicked once, and it takes all three.
func TestThreeSendersOneKick(t *testing.T) {
	b := newUserBench(t, 2)
	v := b.vector(0)
	route(t, v, msi(1, 0x41))
	if err := v.Connect(); err != nil {
		t.Fatal(err)
	}
	chip, err := ioapic.New(ioapic.Config{Output: userOutput{b.bus}})
	if err != nil {
		t.Fatal(err)
	}
	program(chip, 20, 1<<56|0x42)
	v.Fire()
	chip.SetPin(20, true)
	writeICR(b.apics[0], 1, 0x43)
	v.Fire() // and once more
	if b.kicks[1] != 1 || b.kicks[0] != 0 {
		t.Errorf("kicks: %v", b.kicks)
	}
	b.apics[1].Sync()
	var got []uint8
	for {
		if _, ok := b.apics[1].Pending(); !ok {
			break
		}
		vector, _ := b.apics[1].Accept()
		got = append(got, vector)
		b.apics[1].EOI()
	}
	if len(got) != 3 || got[0] != 0x43 || got[1] != 0x42 || got[2] != 0x41 {
		t.Errorf("vectors %#x", got)
	}
	if n, c := raised(b.apics[1], 0x41); n != 2 || c != 1 {
		t.Errorf("0x41: %d raised, %d coalesced", n, c)
	}
	v.Fire()
	if b.kicks[1] != 2 {
		t.Errorf("after the look: %d kicks", b.kicks[1])
	}
}

// program writes a redirection table entry as a guest does.
func program(chip *ioapic.IOAPIC, pin int, rte uint64) {
	for half := range 2 {
		chip.Write(0, []byte{byte(0x10 + 2*pin + 1 - half)})
		v := uint32(rte >> (32 * (1 - half)))
		chip.Write(0x10, []byte{byte(v), byte(v >> 8), byte(v >> 16), byte(v >> 24)})
	}
}

// writeICR sends a fixed IPI in xAPIC mode.
func writeICR(a *lapic.APIC, dest, vector uint8) {
	a.Write(0x310, []byte{0, 0, 0, dest})
	a.Write(0x300, []byte{vector, 0x40, 0, 0})
}

// TestUserVectorAgainstModel: what is fired while a vector is connected is a message by the route of its connection; what is fired while it is not
// is counted, and becomes one message when it is connected.
func TestUserVectorAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newUserBench(t, 2)
		v := b.vector(0)
		var live, routed bool
		var dest int
		var pending uint64
		want := [2]uint64{}
		t.Repeat(map[string]func(*rapid.T){
			"route": func(t *rapid.T) {
				if live {
					t.Skip()
				}
				dest, routed = rapid.IntRange(0, 1).Draw(t, "dest"), true
				if err := (&User{}).SetRoutes([]pci.Route{{Vector: v, Message: msi(dest, 0x50)}}); err != nil {
					t.Fatal(err)
				}
			},
			"connect": func(t *rapid.T) {
				if live || !routed {
					t.Skip()
				}
				if err := v.Connect(); err != nil {
					t.Fatal(err)
				}
				live = true
				if pending > 0 {
					pending = 0
					want[dest]++
				}
			},
			"disconnect": func(t *rapid.T) {
				if !live {
					t.Skip()
				}
				if err := v.Disconnect(); err != nil {
					t.Fatal(err)
				}
				live = false
			},
			"fire": func(t *rapid.T) {
				v.Fire()
				if live {
					want[dest]++
				} else {
					pending++
				}
			},
			"take": func(t *rapid.T) {
				if live {
					t.Skip()
				}
				if n := v.Take(); n != pending {
					t.Fatalf("%d firings taken, want %d", n, pending)
				}
				pending = 0
			},
			"": func(t *rapid.T) {
				for id, a := range b.apics {
					if n, _ := raised(a, 0x50); n != want[id] {
						t.Fatalf("vCPU %d was posted to %d times, want %d", id, n, want[id])
					}
				}
			},
		})
	})
}

// TestUserVectorFiresBesideItsOwner: threads that fire while the vector is connected and disconnected lose nothing, and none is under way when
// Disconnect returns.
func TestUserVectorFiresBesideItsOwner(t *testing.T) {
	b := newUserBench(t, 1)
	v := b.vector(0)
	route(t, v, msi(0, 0x60))
	const threads, each = 3, 20000
	var fired sync.WaitGroup
	for range threads {
		fired.Go(func() {
			for range each {
				v.Fire()
			}
		})
	}
	var taken, connections uint64
	done := make(chan struct{})
	go func() { fired.Wait(); close(done) }()
	for ended := false; !ended; {
		select {
		case <-done:
			ended = true
		default:
		}
		connections++
		pending := v.Take()
		taken += pending
		if err := v.Connect(); err != nil {
			t.Fatal(err)
		}
		if err := v.Disconnect(); err != nil {
			t.Fatal(err)
		}
		before, _ := raised(b.apics[0], 0x60)
		if after, _ := raised(b.apics[0], 0x60); after != before {
			t.Fatal("a message was sent while the vector was disconnected")
		}
	}
	taken += v.Take()
	sent, _ := raised(b.apics[0], 0x60)
	// A connection may merge any number of waiting firings into one message, so that the sum is not exact from above.
	if sent+taken > threads*each {
		t.Errorf("%d sent and %d taken, of %d fired", sent, taken, threads*each)
	}
	if sent == 0 || taken == 0 {
		t.Logf("%d sent, %d taken in %d connections", sent, taken, connections)
	}
}

// TestUserVectorFD: who has only a descriptor can fire, too.
func TestUserVectorFD(t *testing.T) {
	b := newUserBench(t, 1)
	v := b.vector(0)
	route(t, v, msi(0, 0x61))
	fd := v.FD()
	if fd < 0 || v.FD() != fd {
		t.Fatal(fd)
	}
	signal := func(n byte) {
		if _, err := unix.Write(fd, []byte{n, 0, 0, 0, 0, 0, 0, 0}); err != nil {
			t.Fatal(err)
		}
	}
	signal(3)
	waitFor(t, "the firings are pending", func() bool { return v.count.Load() == 3 })
	if err := v.Connect(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "one message", func() bool { n, _ := raised(b.apics[0], 0x61); return n == 1 })
	signal(1)
	waitFor(t, "another", func() bool { n, _ := raised(b.apics[0], 0x61); return n == 2 })
	if err := v.Disconnect(); err != nil {
		t.Fatal(err)
	}
	if err := (&User{}).Remove(v); err != nil {
		t.Fatal(err)
	}
}

func TestUserInterruptAllocatesNothing(t *testing.T) {
	b := newUserBench(t, 1)
	v := b.vector(0)
	route(t, v, msi(0, 0x62))
	if err := v.Connect(); err != nil {
		t.Fatal(err)
	}
	eoi := []byte{0, 0, 0, 0}
	if n := testing.AllocsPerRun(1000, func() {
		v.Fire()
		b.apics[0].Sync()
		b.apics[0].Accept()
		b.apics[0].Write(0xb0, eoi)
	}); n != 0 {
		t.Errorf("%v allocations from raise to EOI", n)
	}
}

func BenchmarkUserInterrupt(bm *testing.B) {
	b := newUserBench(bm, 1)
	v := b.vector(0)
	route(bm, v, msi(0, 0x62))
	if err := v.Connect(); err != nil {
		bm.Fatal(err)
	}
	eoi := []byte{0, 0, 0, 0}
	bm.ReportAllocs()
	for bm.Loop() {
		v.Fire()
		b.apics[0].Sync()
		b.apics[0].Accept()
		b.apics[0].Write(0xb0, eoi)
	}
}
