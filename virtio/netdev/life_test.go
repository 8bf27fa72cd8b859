package netdev

import (
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"doorbell/virtio/loop"
)

func descriptors(tb tester) int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		tb.Fatal(err)
	}
	return len(list)
}

// pump posts and polls on one pair, once.
func (g *guest) pump(pair int) {
	g.queues[2*pair+1].post(append(make([]byte, g.headerLen()), ethernet(testMAC, 200, 1)...), 5000)
	g.poll(pair)
}

// A reset under load, a thousand times, leaves no goroutine and no descriptor behind.
func TestResetUnderLoad(t *testing.T) {
	goroutines, fds := runtime.NumGoroutine(), descriptors(t)
	for _, mode := range []IOMode{Poll, Block, Spin} {
		g := newGuest(t, setup{backend: newLoop(t, loop.Config{Queues: 2, Forever: true, Echo: true}), io: mode, queueSize: 64, refuse: FeatureCtrlRx})
		var after int
		for i := range 1000 / 3 {
			g.start()
			g.do(4, 0, 2, 0)
			for range i % 50 {
				g.pump(0)
				g.pump(1)
			}
			if i == 10 {
				after = descriptors(t)
			}
		}
		if n := descriptors(t); n != after {
			t.Errorf("%v: %d descriptors after 10 resets, %d in the end", mode, after, n)
		}
		if len(g.observed()) != 0 {
			t.Error(g.observed())
		}
		g.close()
	}
	until(t, "all goroutines have ended", func() bool { return runtime.NumGoroutine() <= goroutines }, func() string { return "" })
	if n := descriptors(t); n > fds+8 { // the network poller keeps its own
		t.Errorf("%d descriptors, %d before", n, fds)
	}
}

// One queue is reset and enabled again while all carry frames.
func TestQueueResetUnderLoad(t *testing.T) {
	for _, k := range kinds[:4] {
		g := newGuest(t, setup{backend: newLoop(t, loop.Config{Queues: 2, Forever: true, Echo: true}), transport: k.off, queueSize: 64, refuse: FeatureCtrlRx})
		g.start()
		g.do(4, 0, 2, 0)
		for i := range 200 {
			for range 20 {
				g.pump(0)
				g.pump(1)
			}
			n := i % 4
			q := g.remake(n)
			if n%2 == 0 {
				q.refill()
			}
		}
		for pair := range 2 {
			g.until("frames flow", func() bool { _, ok := g.poll(pair); return ok })
			g.send(pair, ethernet(testMAC, 50, 1))
		}
		if len(g.observed()) != 0 {
			t.Error(g.observed())
		}
		g.close()
	}
}

// A backend that closes under load takes the link down, and the guest's other doings go on.
func TestBackendClosesUnderLoad(t *testing.T) {
	for _, mode := range []IOMode{Poll, Block, Spin} {
		l := newLoop(t, loop.Config{Queues: 1, Forever: true, Echo: true})
		g := newGuest(t, setup{backend: l, io: mode, refuse: FeatureCtrlRx})
		g.start()
		for range 500 {
			g.pump(0)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		g.until("the link is down", func() bool { g.pump(0); return g.read(deviceConfig+6, 2) == 0 })
		// The status changes before the interrupt that tells of it, and a driver can see the one without the other.
		g.until("the driver is told", func() bool { return g.interrupts(-1) != 0 })
		g.do(2, 0, 1, 0)
		g.start() // and a reset works
		g.send(0, ethernet(testMAC, 50, 1))
		g.close()
	}
}

// Descriptors that the backend closes without a word do not make a receiver spin.
func TestDescriptorCloses(t *testing.T) {
	w := newWire(1).withFDs(t)
	g := newGuest(t, setup{backend: w})
	defer g.close()
	g.start()
	w.put(0, ethernet(testMAC, 50, 1))
	g.receive(0)
	w.Close()
	g.device.waiters[0].wake()
	g.send(0, ethernet(testMAC, 50, 1))
	g.until("the link is down", func() bool { return g.device.status.Load()&statusLinkUp == 0 })
}

// What is asked of the device from outside while it works does no harm.
func TestOutsiders(t *testing.T) {
	g := newGuest(t, setup{backend: newLoop(t, loop.Config{Queues: 2, Forever: true, Echo: true}), refuse: FeatureCtrlRx})
	g.start()
	var group sync.WaitGroup
	var stop atomic.Bool
	for _, do := range []func(){
		func() { g.device.State() }, func() { g.device.Announce() }, func() { g.device.SetLink(false); g.device.SetLink(true) },
		func() { _ = g.device.SetMAC(testMAC) }, func() { g.device.QueueStats(0).Packets.Load(); g.device.QueueName(2) },
	} {
		group.Add(1)
		go func() {
			defer group.Done()
			for !stop.Load() {
				do()
				runtime.Gosched()
			}
		}()
	}
	for i := range 20 {
		g.do(4, 0, 2, 0)
		g.do(6, 1, le32(uint32(i), 10)...)
		for range 20 {
			g.pump(0)
			g.pump(1)
		}
		g.start()
	}
	stop.Store(true)
	group.Wait()
	g.close()
}

// No wake-up is lost between a waiter that is about to sleep and those that wake it.
func TestWaiter(t *testing.T) {
	for _, mode := range []IOMode{Poll, Block} {
		w, err := newWaiter(mode)
		if err != nil {
			t.Fatal(err)
		}
		var asked, seen atomic.Int64
		const rounds = 20000
		done := make(chan struct{})
		go func() {
			defer close(done)
			for seen.Load() < rounds {
				if n := asked.Load(); n != seen.Load() {
					seen.Store(n)
					continue
				}
				w.wait(false, 0)
			}
		}()
		for range rounds {
			n := asked.Add(1)
			w.wake()
			until(t, "the wake-up is seen", func() bool { return seen.Load() >= n }, func() string { return "" })
		}
		<-done
		// A deadline ends a wait by itself.
		for range 20 {
			at := now() + 200_000
			for now() < at {
				w.wait(false, at)
			}
		}
		w.close()
		w.wake() // late, and harmless
	}
}

// Queues keep their names in reports after the driver has reset the device, as Linux does when it powers off.
func TestNamesOutliveTheDriver(t *testing.T) {
	for _, c := range []struct {
		refuse uint64
		want   []string
	}{{0, []string{"rx0", "tx0", "rx1", "tx1", "ctrl"}}, {FeatureMQ | FeatureRSS, []string{"rx0", "tx0", "ctrl", "", ""}}} {
		g := newGuest(t, setup{backend: newWire(2), refuse: c.refuse})
		g.start()
		for _, when := range []string{"running", "reset"} {
			for i, want := range c.want {
				if name := g.device.QueueName(i); name != want {
					t.Errorf("%s: queue %d is %q, want %q", when, i, name, want)
				}
			}
			g.write(regStatus, 1, 0)
		}
		g.close()
	}
}

// Kicks that no wait ends with are counted too.
func TestSpinKicks(t *testing.T) {
	for _, mode := range []IOMode{Poll, Block, Spin} {
		g := newGuest(t, setup{backend: newWire(1), io: mode})
		g.start()
		const kicks = 20
		for range kicks {
			g.write(notifyAt+4, 2, 1)
		}
		g.write(regStatus, 1, 0)
		if n := g.t.QueueStats(1).Kicks.Load(); n != kicks {
			t.Errorf("%v: %d kicks, of %d", mode, n, kicks)
		}
		g.close()
	}
}
