package netdev

import (
	"encoding/binary"
	"testing"

	"doorbell/virtio/backend"
	"doorbell/virtio/loop"
)

// hot is one queue of a running device whose goroutine has been replaced by the test, and a driver that only turns the ring: every entry has
// its own buffer for ever, and nobody wants interrupts.
type hot struct {
	g      *guest
	q      *vq
	packed bool
	write  bool
	length uint32
	next   int
	wrap   bool
	round  func() int
}

const hotSize = 256

func newHot(tb testing.TB, ringOff, disable uint64, queue int, length uint32, b backend.Backend) *hot {
	tb.Helper()
	g := newGuest(tb, setup{backend: b, transport: ringOff, disable: disable, queueSize: hotSize, receiveSize: 2048})
	tb.Cleanup(g.close)
	g.start()
	h := &hot{g: g, packed: g.features&packed != 0, write: queue == 0, length: length, wrap: true}
	h.q = g.remake(queue)
	h.q.slot = 2048
	ram := g.ram[h.q.base:]
	if h.packed {
		word(ram, driverAt).Store(1 << 16)
	} else {
		for i := range hotSize {
			putDesc(ram[descAt+16*i:], h.part(i), 0, 0)
			binary.LittleEndian.PutUint16(ram[driverAt+4+2*i:], uint16(i))
		}
		word(ram, driverAt).Store(1)
	}
	switch t := g.device.threads[queue].(type) {
	case *receiver:
		stopThread(&t.thread)
		h.round = func() int {
			before := t.stats.Packets.Load()
			t.round(g.device.policy.Load())
			return int(t.stats.Packets.Load() - before)
		}
	case *transmitter:
		stopThread(&t.thread)
		h.round = func() int {
			n, err := t.round()
			if err != nil {
				tb.Fatal(err)
			}
			return n
		}
	}
	return h
}

// stopThread ends the goroutine; the device may stop it once more.
func stopThread(t *thread) {
	t.stopping.Store(true)
	t.waiter.wake()
	<-t.done
}

func (h *hot) part(i int) part { return part{h.q.address(i), h.length, h.write} }

// post makes n entries available.
func (h *hot) post(n int) {
	ram := h.g.ram[h.q.base:]
	if !h.packed {
		h.next += n
		// Without EVENT_IDX the flags say that no interrupt is wanted.
		word(ram, driverAt).Store(1 | uint32(h.next)<<16)
		return
	}
	for range n {
		p := h.part(h.next)
		at := descAt + 16*h.next
		binary.LittleEndian.PutUint64(ram[at:], p.addr)
		binary.LittleEndian.PutUint32(ram[at+8:], p.len)
		flags := uint32(descAvail)
		if !h.wrap {
			flags = descUsed
		}
		if p.write {
			flags |= descWrite
		}
		word(ram, at+12).Store(uint32(h.next) | flags<<16)
		if h.next++; h.next == hotSize {
			h.next, h.wrap = 0, !h.wrap
		}
	}
}

type hotCase struct {
	name        string
	off         uint64
	disable     uint64
	queue       int
	backendSize int
}

func hotCases() (list []hotCase) {
	for _, r := range []struct {
		name string
		off  uint64
	}{{"split", packed | eventIdx}, {"packed", eventIdx}} {
		for _, q := range []string{"rx", "tx"} {
			for _, f := range []struct {
				name    string
				disable uint64
			}{{"plain", FeatureHashReport | FeatureCtrlRx | FeatureCtrlVLAN}, {"filter", FeatureHashReport}, {"hash", 0}} {
				queue := 0
				if q == "tx" {
					if queue = 1; f.name == "filter" {
						continue
					}
				}
				list = append(list, hotCase{r.name + "/" + q + "/" + f.name, r.off, f.disable, queue, 1514})
			}
		}
	}
	return list
}

func (c hotCase) start(tb testing.TB) *hot {
	tb.Helper()
	cfg := loop.Config{Size: 60, MAC: testMAC}
	if c.queue == 0 {
		cfg.Forever = true
	}
	h := newHot(tb, c.off, c.disable, c.queue, 0, newLoop(tb, cfg))
	h.length = 2048
	if c.queue == 1 {
		h.length = uint32(h.g.headerLen() + 60)
	}
	if h.g.features&FeatureHashReport != 0 && c.queue == 0 {
		h.g.do(4, 2, append(append(le32(backend.SupportedHashTypes), make([]byte, 8)...), append([]byte{40}, publishedKey...)...)...)
	}
	if !h.packed {
		ram := h.g.ram[h.q.base:]
		for i := range hotSize {
			putDesc(ram[descAt+16*i:], h.part(i), 0, 0)
		}
	}
	return h
}

// The path of a packet allocates nothing.
func TestAllocatesNothing(t *testing.T) {
	for _, c := range hotCases() {
		h := c.start(t)
		for range 20 {
			h.post(batch)
			h.round()
		}
		if n := testing.AllocsPerRun(200, func() {
			h.post(batch)
			if n := h.round(); n != batch {
				t.Fatalf("%s: %d packets", c.name, n)
			}
		}); n >= 1 {
			t.Errorf("%s: %v allocations for %d packets", c.name, n, batch)
		}
	}
}

// Waiting allocates nothing either.
func TestWaitAllocatesNothing(t *testing.T) {
	for _, mode := range []IOMode{Poll, Block} {
		w, err := newWaiter(mode)
		if err != nil {
			t.Fatal(err)
		}
		defer w.close()
		if n := testing.AllocsPerRun(500, func() { w.wait(false, now()+1000) }); n >= 1 {
			t.Errorf("%v: %v allocations", mode, n)
		}
	}
}

func BenchmarkPacket(b *testing.B) {
	for _, c := range hotCases() {
		b.Run(c.name, func(b *testing.B) {
			h := c.start(b)
			b.ReportAllocs()
			packets := 0
			for b.Loop() {
				h.post(batch)
				packets += h.round()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(packets), "ns/packet")
		})
	}
}
