package netdev

import (
	"bytes"
	"testing"

	"doorbell/virtio/backend"
)

// drain takes everything out of the first receive queue and gives nothing back.
func (g *guest) drain() (frames int) {
	for {
		token, _, ok := g.queues[0].reap()
		if !ok {
			return frames
		}
		g.queues[0].tokens = append(g.queues[0].tokens, token)
		frames++
	}
}

// A long frame that comes while the ring is low waits for the driver, and nothing behind it is lost or overtakes it.
func TestRingMomentarilyLow(t *testing.T) {
	for _, fds := range []bool{false, true} {
		w := newWire(1)
		if fds {
			w.withFDs(t)
		}
		g := newGuest(t, setup{backend: w, queueSize: 64, receiveSize: 1500})
		g.start()
		for i := range 40 {
			w.put(0, ethernet(testMAC, 50, byte(i)))
		}
		got := 0
		g.until("the ring is low", func() bool { got += g.drain(); return got == 40 })
		gso := backend.Header{Flags: 1, GSOType: backend.GSOTCPv4, GSOSize: 1448, NumBuffers: 1}
		long := ethernet(testMAC, 60000, 3)
		w.put(0, ethernet(testMAC, 50, 100))
		w.putHeader(0, gso, long)
		w.put(0, ethernet(testMAC, 50, 101))
		g.until("the frame before it comes", func() bool { got += g.drain(); return got == 41 })
		g.queues[0].refill()
		r := g.receive(0)
		if !bytes.Equal(r.frame, long) || r.chains != 41 {
			t.Errorf("%d bytes in %d buffers", len(r.frame), r.chains)
		}
		if r := g.receive(0); r.frame[14] != 101 {
			t.Errorf("then frame %d", r.frame[14])
		}
		if s := g.device.QueueStats(0); s.Drops.Total() != 0 || s.Bounced.Load() == 0 {
			t.Errorf("drops %v, %d bounced", s.Drops.ByReason(), s.Bounced.Load())
		}
		g.close()
	}
}

// A driver that never gives enough loses the frame, not the queue.
func TestRingTooLow(t *testing.T) {
	w := newWire(1)
	g := newGuest(t, setup{backend: w, queueSize: 64, receiveSize: 1500})
	defer g.close()
	g.start()
	for i := range 40 {
		w.put(0, ethernet(testMAC, 50, byte(i)))
	}
	got := 0
	g.until("the ring is low", func() bool { got += g.drain(); return got == 40 })
	w.putHeader(0, backend.Header{Flags: 1, GSOType: backend.GSOTCPv4, GSOSize: 1448, NumBuffers: 1}, ethernet(testMAC, 60000, 3))
	w.put(0, ethernet(testMAC, 50, 101))
	g.until("the next frame comes", func() bool { got += g.drain(); return got == 41 })
	if d := g.device.QueueStats(0).Drops[DropNoBuffers].Load(); d != 1 {
		t.Errorf("drops %v", g.device.QueueStats(0).Drops.ByReason())
	}
}

// A frame that no ring of the driver's will hold is dropped at once.
func TestRingTooSmall(t *testing.T) {
	for _, refuse := range []uint64{0, FeatureMrgRxBuf} {
		w := newWire(1)
		g := newGuest(t, setup{backend: w, queueSize: 16, receiveSize: 1600, refuse: refuse})
		g.start()
		w.putHeader(0, backend.Header{Flags: 1, GSOType: backend.GSOTCPv4, GSOSize: 1448, NumBuffers: 1}, ethernet(testMAC, 60000, 3))
		w.put(0, ethernet(testMAC, 50, 7))
		if r := g.receive(0); r.frame[14] != 7 {
			t.Errorf("frame %d", r.frame[14])
		}
		lost := g.device.QueueStats(0).Drops[DropTooLong].Load() + w.queues[0].counters.Drops().Load(backend.DropTooLong)
		if lost != 1 {
			t.Errorf("%d dropped", lost)
		}
		g.close()
	}
}

// Descriptors tell of frames in every mode, also after the queue was not in use.
func TestDescriptorSource(t *testing.T) {
	for _, mode := range []IOMode{Poll, Block, Spin} {
		w := newWire(2).withFDs(t)
		g := newGuest(t, setup{backend: w, io: mode})
		g.start()
		for round := range 20 {
			pairs := byte(1 + round%2)
			g.do(4, 0, pairs, 0)
			for pair := range int(pairs) {
				w.put(pair, ethernet(testMAC, 50, byte(round)))
				if r := g.receive(pair); r.frame[14] != byte(round) {
					t.Errorf("%v: frame %d instead of %d", mode, r.frame[14], round)
				}
			}
		}
		g.close()
	}
}

// A chain that breaks the rules stops its queue, and only that.
func TestBadChains(t *testing.T) {
	for name, c := range map[string]struct {
		queue int
		parts func(at uint64) []part
	}{
		"short rx":    {0, func(at uint64) []part { return []part{{at, 19, true}} }},
		"readable rx": {0, func(at uint64) []part { return []part{{at, 1, false}, {at, 1000, true}} }},
		"short tx":    {1, func(at uint64) []part { return []part{{at, 19, false}} }},
		"writable tx": {1, func(at uint64) []part { return []part{{at, 100, false}, {at, 1, true}} }},
		"long tx":     {1, func(at uint64) []part { return []part{{at, 65586, false}} }},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWire(2)
			g := newGuest(t, setup{backend: w})
			defer g.close()
			g.start()
			q := g.remake(c.queue)
			q.add(0, c.parts(q.address(0)))
			q.kick()
			if c.queue == 0 {
				w.put(0, ethernet(testMAC, 50, 1))
			}
			g.until("the device needs a reset", g.t.NeedsReset)
			g.do(4, 0, 2, 0)
			w.put(1, ethernet(testMAC, 50, 1))
			g.queues[2].refill()
			g.receive(1)
			g.send(1, ethernet(testMAC, 50, 1))
			g.until("the frame is sent", func() bool { return len(w.sent(1)) == 1 })
			g.start()
			w.put(0, ethernet(testMAC, 50, 1))
			g.receive(0)
		})
	}
}

// remake resets one queue and enables it again, empty.
func (g *guest) remake(i int) *vq {
	g.write(regQueueSelect, 2, uint64(i))
	g.write(regQueueReset, 2, 1)
	g.queues[i] = g.enable(i)
	return g.queues[i]
}
