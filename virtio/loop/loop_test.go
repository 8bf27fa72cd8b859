package loop

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"doorbell/virtio/backend"

	"pgregory.net/rapid"
)

func newLoop(t testing.TB, cfg Config) *Loop {
	t.Helper()
	l, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func room() [][]byte { return [][]byte{make([]byte, 100), make([]byte, backend.MaxFrame)} }

// balance checks that nothing is unaccounted for.
func balance(t testing.TB, l *Loop, waiting uint64) {
	t.Helper()
	for i := range l.Queues() {
		c := l.Queue(i).Counters()
		if sent, sum := l.Sent(i), c.ToGuest.Packets.Load()+c.Drops().Total(); sent != sum+waiting {
			t.Errorf("queue %d: sent %d, delivered %d, dropped %v, waiting %d", i, sent, c.ToGuest.Packets.Load(), c.Drops().ByReason(), waiting)
		}
	}
}

func TestCountThenStop(t *testing.T) {
	l := newLoop(t, Config{Count: 1000, Size: 1514})
	bufs := room()
	q := l.Queue(0)
	for i := range uint64(1000) {
		n := q.Receive(bufs)
		frame := make([]byte, n-backend.HeaderLen)
		backend.Gather(frame, bufs, backend.HeaderLen)
		if got, ok := Number(frame); n != backend.HeaderLen+1514 || !ok || got != i {
			t.Fatalf("frame %d has %d bytes and number %d", i, n, got)
		}
	}
	if n := q.Receive(bufs); n != 0 {
		t.Errorf("frame 1000 has %d bytes", n)
	}
	if b := q.Counters().ToGuest.Bytes.Load(); b != 1000*1514 {
		t.Errorf("%d bytes counted", b)
	}
	balance(t, l, 0)
}

// Frames come at the rate and in the bursts asked for, and the notification tells when.
func TestRateAndBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLoop(t, Config{Forever: true, Rate: 1000, Burst: 10, Backlog: 20})
		q := l.Queue(0)
		came := make(chan struct{}, 1)
		q.Notify(func() { came <- struct{}{} })
		bufs := room()
		drain := func() (n int) {
			for q.Receive(bufs) > 0 {
				n++
			}
			return n
		}
		if n := drain(); n != 0 {
			t.Errorf("%d frames at once", n)
		}
		start := time.Now()
		for i := range 5 {
			<-came
			if n := drain(); n != 10 || time.Since(start) != time.Duration(i+1)*10*time.Millisecond {
				t.Errorf("burst %d: %d frames after %v", i, n, time.Since(start))
			}
		}
		balance(t, l, 0)
		// Nobody takes them for a second: the backlog stays, the rest is dropped.
		time.Sleep(time.Second)
		if n := drain(); n != 20 {
			t.Errorf("%d frames waited", n)
		}
		if d := q.Counters().Drops().Load(backend.DropQueueFull); d != 980 {
			t.Errorf("%d dropped", d)
		}
		balance(t, l, 0)
		l.Close()
	})
}

func TestEcho(t *testing.T) {
	l := newLoop(t, Config{Echo: true, Backlog: 2})
	q := l.Queue(0)
	told := 0
	q.Notify(func() { told++ })
	bufs := room()
	if q.Receive(bufs) != 0 {
		t.Fatal("a frame out of nothing")
	}
	frame := make([]byte, backend.HeaderLen+60)
	for i := range frame {
		frame[i] = byte(i)
	}
	for range 3 {
		q.Transmit([][]byte{frame[:20], frame[20:]})
	}
	if told != 1 {
		t.Errorf("told %d times", told)
	}
	for range 2 {
		n := q.Receive(bufs)
		got := make([]byte, n)
		backend.Gather(got, bufs, 0)
		want := append([]byte(nil), frame...)
		copy(want[12:18], frame[18:24])
		copy(want[18:24], frame[12:18])
		want[10], want[11] = 1, 0
		if string(got) != string(want) {
			t.Errorf("echo %x\nwant %x", got, want)
		}
	}
	if q.Receive(bufs) != 0 || q.Counters().Drops().Load(backend.DropQueueFull) != 1 {
		t.Errorf("drops %v", q.Counters().Drops().ByReason())
	}
	balance(t, l, 0)
}

// With steering each flow appears on the queue that its hash selects, and only there.
func TestSteering(t *testing.T) {
	l := newLoop(t, Config{Queues: 4, Forever: true, Flows: 64})
	if err := l.SetActive(4); err != nil {
		t.Fatal(err)
	}
	key := make([]byte, backend.KeyLen)
	for i := range key {
		key[i] = byte(i*37 + 11)
	}
	s, err := backend.NewSteering(backend.HashUDPv4, []uint16{3, 1, 2, 0}, 0, key)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.SetSteering(s); err != nil {
		t.Fatal(err)
	}
	bufs := room()
	for i := range 4 {
		for range 200 {
			n := l.Queue(i).Receive(bufs)
			if n == 0 {
				t.Fatalf("queue %d has nothing", i)
			}
			frame := make([]byte, n-backend.HeaderLen)
			backend.Gather(frame, bufs, backend.HeaderLen)
			if q := s.Queue(frame); int(q) != i {
				t.Fatalf("a frame for queue %d on queue %d", q, i)
			}
		}
	}
	if err := l.SetActive(1); err != nil {
		t.Fatal(err)
	}
	if l.Queue(0).Receive(bufs) == 0 || l.Queue(1).Receive(bufs) != 0 {
		t.Error("one active queue: frames elsewhere")
	}
	balance(t, l, 0)
}

// Any mixture of what a device can do keeps the books balanced.
func TestBooksBalance(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l, err := New(Config{
			Queues: rapid.IntRange(1, 3).Draw(t, "queues"), Count: rapid.Uint64Range(0, 50).Draw(t, "count"),
			Echo: rapid.Bool().Draw(t, "echo"), Backlog: rapid.IntRange(1, 4).Draw(t, "backlog"), Flows: rapid.IntRange(1, 5).Draw(t, "flows"),
		})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		waiting := make([]int, l.Queues())
		bufs, small := room(), [][]byte{make([]byte, 30)}
		for range rapid.IntRange(0, 100).Draw(t, "steps") {
			i := rapid.IntRange(0, l.Queues()-1).Draw(t, "queue")
			q := l.Queue(i)
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0:
				before := q.Counters().Drops().Total()
				q.Transmit([][]byte{make([]byte, 100)})
				if l.cfg.Echo && q.Counters().Drops().Total() == before {
					waiting[i]++
				}
			case 1:
				q.Receive(bufs)
			case 2:
				q.Receive(small)
			case 3:
				l.SetActive(rapid.IntRange(1, l.Queues()).Draw(t, "active"))
			}
			for j := range l.Queues() {
				c := l.Queue(j).Counters()
				w := uint64(l.queues[j].count)
				if l.Sent(j) != c.ToGuest.Packets.Load()+c.Drops().Total()+w {
					t.Fatalf("queue %d: sent %d, delivered %d, drops %v, waiting %d", j, l.Sent(j), c.ToGuest.Packets.Load(), c.Drops().ByReason(), w)
				}
			}
		}
	})
}

func TestConfigErrors(t *testing.T) {
	for _, c := range []Config{{Queues: -1}, {Size: 10}, {Size: 1 << 20}, {Rate: -1}, {Backlog: -1}, {Burst: 2000}, {Flows: 1 << 20}, {MAC: []byte{1}}, {MTU: 1}} {
		if l, err := New(c); err == nil {
			l.Close()
			t.Errorf("%+v is accepted", c)
		}
	}
	l := newLoop(t, Config{})
	if l.SetActive(0) == nil || l.SetActive(2) == nil || l.SetOffloads(backend.Checksum) == nil {
		t.Error("the loop accepts what it does not offer")
	}
}

func TestAllocatesNothing(t *testing.T) {
	l := newLoop(t, Config{Forever: true, Echo: true, Size: 1500})
	q := l.Queue(0)
	frame := [][]byte{make([]byte, 12), make([]byte, 1500)}
	bufs := room()
	q.Transmit(frame)
	q.Receive(bufs)
	if n := testing.AllocsPerRun(5000, func() {
		q.Transmit(frame)
		q.Receive(bufs)
		q.Receive(bufs)
	}); n > 0.5 {
		t.Errorf("%v allocations per round", n)
	}
}

func TestCloseUnderLoad(t *testing.T) {
	before := runtime.NumGoroutine()
	l := newLoop(t, Config{Queues: 2, Forever: true, Rate: 1e6, Echo: true})
	var group sync.WaitGroup
	var moved atomic.Int64
	stop := make(chan struct{})
	for i := range 2 {
		q := l.Queue(i)
		q.Notify(func() {})
		for _, f := range []func(){func() { q.Transmit([][]byte{make([]byte, 100)}) }, func() { q.Receive([][]byte{make([]byte, 4096)}) }} {
			group.Add(1)
			go func() {
				defer group.Done()
				for {
					f()
					moved.Add(1)
					select {
					case <-stop:
						return
					default:
					}
				}
			}()
		}
	}
	for moved.Load() < 10000 {
		runtime.Gosched()
	}
	l.Close()
	l.Close()
	at := l.Queue(0).Counters().FromGuest.Packets.Load()
	l.Queue(0).Transmit([][]byte{make([]byte, 100)})
	if got := l.Queue(0).Counters().FromGuest.Packets.Load(); got != at || l.Queue(0).Receive(room()) != 0 {
		t.Error("a closed loop carries frames")
	}
	close(stop)
	group.Wait()
	// The workers of this test, and a timer's last call, may still be on their way out.
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}

func BenchmarkGenerate(b *testing.B) {
	l := newLoop(b, Config{Forever: true, Size: 60})
	bufs := room()
	b.ReportAllocs()
	for b.Loop() {
		l.Queue(0).Receive(bufs)
	}
}
