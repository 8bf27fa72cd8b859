package netdev

import (
	"bytes"
	"testing"
	"time"
)

// These tests are without VIRTIO_F_EVENT_IDX, since with it a driver that has already seen a packet wants no interrupt for it.

// With maximal packets n and no time limit to speak of, there is one interrupt for every n packets, in either direction.
func TestCoalescingCounts(t *testing.T) {
	const forever = 4_000_000_000 // microseconds
	for _, k := range kinds[:3] {
		for _, n := range []uint32{1, 7, 50} {
			w := newWire(1)
			g := newGuest(t, setup{backend: w, transport: k.off | eventIdx, queueSize: 256})
			g.start()
			g.do(6, 1, le32(n, forever)...)
			g.do(6, 0, le32(n, forever)...)
			const rounds = 10
			for range rounds {
				for range n {
					w.put(0, ethernet(testMAC, 50, 1))
					g.receive(0)
				}
			}
			// What is used can be seen before it is told of.
			g.until("the interrupts are there", func() bool { return g.interrupts(0) >= rounds })
			if got := g.interrupts(0); got != rounds {
				t.Errorf("%s, %d packets: %d interrupts for %d received", k.name, n, got, rounds*n)
			}
			for i := range rounds * n {
				g.send(0, ethernet(testMAC, 50, 1))
				if i%n == n-1 {
					g.until("the frames are sent", func() bool { return g.device.QueueStats(1).Packets.Load() == uint64(i+1) })
				}
			}
			g.until("the interrupts are there", func() bool { return g.interrupts(1) >= rounds })
			if got := g.interrupts(1); got != rounds {
				t.Errorf("%s, %d packets: %d interrupts for %d sent", k.name, n, got, rounds*n)
			}
			if c := g.device.QueueStats(0).Coalesced.Load(); n > 1 && c == 0 {
				t.Error("nothing is counted as coalesced")
			}
			g.close()
		}
	}
}

// The time limit is kept from below, and ends the wait.
func TestCoalescingTime(t *testing.T) {
	for _, mode := range []IOMode{Poll, Block, Spin} {
		w := newWire(1)
		g := newGuest(t, setup{backend: w, io: mode, transport: eventIdx})
		g.start()
		g.do(6, 1, le32(1000, 3000)...)
		for i := range uint64(5) {
			start := time.Now()
			w.put(0, ethernet(testMAC, 50, 1))
			g.receive(0)
			g.until("the interrupt comes", func() bool { return g.interrupts(0) == i+1 })
			if d := time.Since(start); d < 3*time.Millisecond {
				t.Errorf("%v: after %v", mode, d)
			}
		}
		g.close()
	}
}

// A driver that has set nothing hears of every frame it sends, though a little later than it can see that it is sent.
func TestCoalescingOwn(t *testing.T) {
	for _, k := range kinds[:4] {
		for _, mode := range []IOMode{Poll, Block, Spin} {
			g := newGuest(t, setup{backend: newWire(1), io: mode, transport: k.off | eventIdx})
			g.start()
			for i := range uint64(50) {
				g.send(0, ethernet(testMAC, 50, 1))
				g.until("the frame is told of", func() bool { return g.interrupts(1) == i+1 })
			}
			if g.device.QueueStats(1).Coalesced.Load() == 0 {
				t.Errorf("%s, %v: no interrupt was put off", k.name, mode)
			}
			// A driver that wants none put off can say so.
			g.do(6, 0, le32(0, 0)...)
			before := g.device.QueueStats(1).Coalesced.Load()
			for i := range uint64(50) {
				g.send(0, ethernet(testMAC, 50, 1))
				g.until("the frame is told of", func() bool { return g.interrupts(1) == 50+i+1 })
			}
			if n := g.device.QueueStats(1).Coalesced.Load(); n != before {
				t.Errorf("%s, %v: %d interrupts were put off", k.name, mode, n-before)
			}
			g.close()
		}
	}
}

// New parameters apply to what waits already.
func TestCoalescingChange(t *testing.T) {
	const forever = 4_000_000_000
	w := newWire(1)
	g := newGuest(t, setup{backend: w, transport: eventIdx})
	defer g.close()
	g.start()
	for i, change := range [][]byte{le32(8, forever), le32(0, 0), le32(15, 0), le32(15, 1)} {
		g.do(6, 1, le32(15, forever)...)
		for range 10 {
			w.put(0, ethernet(testMAC, 50, 1))
			g.receive(0)
		}
		if n := g.interrupts(0); n != uint64(i) {
			t.Fatalf("%d interrupts", n)
		}
		g.do(6, 1, change...)
		g.until("what waits is told of", func() bool { return g.interrupts(0) == uint64(i+1) })
	}
}

// The sequence of the specification's example, with two pairs (section 5.1.6.5.8), and queue reset.
func TestQueueCoalescing(t *testing.T) {
	g := newGuest(t, setup{backend: newWire(2)})
	defer g.close()
	g.start()
	set := func(q uint16, packets, usecs uint32) []byte {
		return append(append(le16(q), le16(0xffff)...), le32(packets, usecs)...)
	}
	get := func(q uint16, want ...uint32) {
		t.Helper()
		ack, got := g.command(6, 3, append(le16(q), 0, 0), 8)
		if ack != ackOK || !bytes.Equal(got, le32(want...)) {
			t.Errorf("queue %d: answer %d, %v; want %v", q, ack, got, want)
		}
	}
	g.do(6, 1, le32(1, 10)...)
	g.do(6, 2, set(0, 2, 20)...)
	get(0, 2, 20)
	get(2, 1, 10)
	g.do(6, 2, set(1, 3, 30)...)
	get(1, 3, 30)
	get(3, 0, 0)
	g.do(6, 0, le32(4, 40)...)
	get(1, 4, 40)
	get(3, 4, 40)
	get(0, 2, 20)
	if ack, _ := g.command(6, 3, append(le16(4), 0, 0), 8); ack != ackErr {
		t.Error("the control queue has parameters")
	}
	if ack, got := g.command(6, 3, append(le16(0), 0, 0), 7); ack != ackErr || len(got) != 0 {
		t.Error("an answer without room")
	}
	// Disabled, a queue has none; enabled again, those of its kind.
	g.write(regQueueSelect, 2, 0)
	g.write(regQueueReset, 2, 1)
	if ack, _ := g.command(6, 3, append(le16(0), 0, 0), 8); ack != ackErr {
		t.Error("a disabled queue has parameters")
	}
	g.queues[0] = g.enable(0)
	g.queues[0].refill()
	get(0, 1, 10)
}

// A driver that has no buffers left is told, whatever the parameters are: it would never give new ones.
func TestCoalescingStarved(t *testing.T) {
	w := newWire(1)
	g := newGuest(t, setup{backend: w, queueSize: 16})
	defer g.close()
	g.start()
	g.do(6, 1, le32(1000, 4_000_000_000)...)
	for range 20 {
		w.put(0, ethernet(testMAC, 50, 1))
	}
	g.until("the driver is told", func() bool { return g.interrupts(0) == 1 })
	for range 20 {
		g.receive(0)
	}
}

// TestCoalescingTimeAlone: without a number of packets, as ethtool -C rx-usecs sets it, the time decides; a number without a time changes nothing.
func TestCoalescingTimeAlone(t *testing.T) {
	for _, c := range []struct{ packets, usecs, least, most uint32 }{{0, 10_000_000, 0, 0}, {16, 0, 30, 30}} {
		w := newWire(1)
		g := newGuest(t, setup{backend: w, transport: eventIdx, queueSize: 256})
		g.start()
		g.do(6, 1, le32(c.packets, c.usecs)...)
		for range 30 {
			w.put(0, ethernet(testMAC, 50, 1))
			g.receive(0)
		}
		if n := uint32(g.interrupts(0)); n < c.least || n > c.most {
			t.Errorf("%d packets, %d us: 30 frames had %d interrupts", c.packets, c.usecs, n)
		}
		g.close()
	}
}

// TestBatchesAccounted: a round that shows the driver several batches, as long frames make it, has one interrupt at its end, and each batch is in
// the account: told of, put off or not wanted.
func TestBatchesAccounted(t *testing.T) {
	for _, own := range []bool{true, false} {
		h := hotCase{off: eventIdx, queue: 1}.start(t)
		h.length = uint32(h.g.headerLen() + 1514)
		if !own {
			h.g.do(6, 0, le32(0, 0)...)
		}
		const rounds = 50
		for range rounds {
			h.post(batch)
			h.round()
		}
		s, d := h.g.t.QueueStats(1), h.g.device.QueueStats(1)
		batches, told := s.Batches.Load(), s.Interrupts.Load()+s.Suppressed.Load()
		if batches <= 2*rounds || told+d.Coalesced.Load() < batches || !own && told+d.Coalesced.Load() != batches {
			t.Errorf("own choice %v: %d batches of %d rounds; %d told of or not wanted, %d put off", own, batches, rounds, told, d.Coalesced.Load())
		}
	}
}
