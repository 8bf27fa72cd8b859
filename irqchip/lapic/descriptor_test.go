package lapic

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestOneKickForManyPosts: until the owner looks, one poster is asked to kick.
func TestOneKickForManyPosts(t *testing.T) {
	b := running(t)
	d := b.Descriptor()
	posts := []func() bool{
		func() bool { return d.Post(0x40, false) }, func() bool { return d.Post(0x40, false) }, func() bool { return d.Post(0x41, true) },
		d.PostNMI, d.PostSMI, d.PostExtINT, func() bool { return d.PostSIPI(1) }, func() bool { return d.LINT(0, true) }, func() bool { return d.Post(3, false) },
		d.PostINIT,
	}
	for first := range posts {
		b.Sync()
		d.LINT(0, false)
		b.Sync()
		for i := range posts {
			if notify := posts[(first+i)%len(posts)](); notify != (i == 0) {
				t.Errorf("post %d after %d others: notify %v", (first+i)%len(posts), i, notify)
			}
		}
	}
	b.Sync()
	if d.LINT(0, true) {
		t.Error("a pin that repeats its level asks for a kick")
	}
}

// TestSuppress: with SN set nobody kicks, and the Sync after Resume finds all of it.
func TestSuppress(t *testing.T) {
	b := running(t)
	d := b.Descriptor()
	d.Suppress()
	if d.Post(0x40, false) || d.PostNMI() || d.LINT(0, true) {
		t.Error("a kick in spite of SN")
	}
	b.Sync()
	b.accept(0x40)
	b.put(0xb0, 0)
	b.Events()
	d.Post(0x41, false)
	d.Resume()
	if d.Post(0x42, false) {
		t.Error("a kick before the Sync that Resume asks for")
	}
	b.Sync()
	b.accept(0x42)
	b.put(0xb0, 0)
	b.accept(0x41)
	if !d.Post(0x43, false) {
		t.Error("no kick after Resume")
	}
}

// TestPosters: several threads post, one owns. The owner sleeps until it is kicked, as a vCPU that halts, so that a lost wakeup is a test that
// does not end; and every interrupt must be found, with its trigger mode.
func TestPosters(t *testing.T) {
	const posters = 4
	rounds := 20000
	if testing.Short() {
		rounds = 2000
	}
	b := running(t)
	d := b.Descriptor()
	kick := make(chan struct{}, 1)
	var kicks, posts, left atomic.Int64
	notify := func(yes bool) {
		posts.Add(1)
		if yes {
			kicks.Add(1)
			select {
			case kick <- struct{}{}:
			default:
			}
		}
	}
	// Poster p uses vectors p*32+32 and the next 7 of them, even ones as levels. It posts a vector again only when the owner has delivered
	// it, so that what is delivered can be counted.
	var delivered [256]atomic.Int64
	left.Store(posters)
	var wg sync.WaitGroup
	for p := range posters {
		wg.Go(func() {
			for i := range rounds {
				v := uint8(p*32 + 32 + i%8)
				for delivered[v].Load() != int64(i/8) {
					runtime.Gosched()
				}
				notify(d.Post(v, v%2 == 0))
				if i%100 == 0 {
					notify(d.PostNMI())
				}
			}
			left.Add(-1)
			notify(d.PostSMI())
		})
	}
	nmis := 0
	for i, done := 0, false; !done; i++ {
		done = left.Load() == 0 // read before the last look
		b.Sync()
		if b.Events().NMI {
			nmis++
		}
		found := false
		for {
			v, ok := b.Pending()
			if !ok {
				break
			}
			found = true
			b.accept(uint8(v))
			ended, level, _ := b.EOI()
			if int(ended) != v || level != (v%2 == 0) {
				t.Errorf("vector %#x: EOI of %#x, level %v", v, ended, level)
			}
			delivered[v].Add(1)
		}
		switch {
		case found || done:
		case i%16 == 0:
			d.Suppress()
			runtime.Gosched()
			d.Resume()
		default:
			<-kick
		}
	}
	wg.Wait()
	for p := range posters {
		for i := range 8 {
			v := p*32 + 32 + i
			if n := delivered[v].Load(); n != int64(rounds/8) {
				t.Errorf("vector %#x: delivered %d times, posted %d", v, n, rounds/8)
			}
		}
	}
	if kicks.Load() > posts.Load() || nmis == 0 || nmis > posters*rounds/100 {
		t.Errorf("%d kicks for %d posts, %d NMIs", kicks.Load(), posts.Load(), nmis)
	}
	t.Logf("%d posts, %d kicks, %d NMIs", posts.Load(), kicks.Load(), nmis)
}

// TestNoLostWakeup: in each round, a poster posts twice in a row while the owner looks, and then waits until both have been found. There is no
// third post that could come to the rescue of a second that the owner has just missed.
func TestNoLostWakeup(t *testing.T) {
	rounds := 100_000
	if testing.Short() {
		rounds = 10_000
	}
	b := running(t)
	d := b.Descriptor()
	kick := make(chan struct{}, 2)
	var round atomic.Int64
	var poster sync.WaitGroup
	poster.Go(func() {
		for r := range int64(rounds) {
			for round.Load() <= r {
				runtime.Gosched()
			}
			for v := range uint8(2) {
				if d.Post(0x40+v, false) {
					kick <- struct{}{}
				}
			}
		}
	})
	patience := time.NewTimer(time.Minute)
	for range rounds {
		round.Add(1)
		for found, idle := 0, 0; found < 2; idle++ {
			b.Sync()
			for _, ok := b.Pending(); ok; _, ok = b.Pending() {
				b.Accept()
				b.EOI()
				found, idle = found+1, 0
			}
			switch {
			case found == 2 || idle < 20:
			case idle < 40:
				runtime.Gosched()
			default:
				select {
				case <-kick:
				case <-patience.C:
					t.Fatalf("round %d: %d of 2 found, and no kick", round.Load(), found)
				}
			}
		}
		for len(kick) > 0 {
			<-kick
		}
	}
	poster.Wait()
}
