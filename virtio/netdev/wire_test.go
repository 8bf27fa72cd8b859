package netdev

import (
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"

	"doorbell/virtio/backend"

	"golang.org/x/sys/unix"
)

// wire is a backend whose other end is the test: what is put on a queue arrives there, what the guest sends is kept.
type wire struct {
	queues             []*wireQueue
	drops              backend.Drops
	fromGuest, toGuest backend.Offloads
	mtu                int
	noSteering         bool
	failing            atomic.Bool // SetActive and SetOffloads fail

	mu       sync.Mutex
	active   int
	offloads backend.Offloads
	steering *backend.Steering
	closed   bool
}

type wireQueue struct {
	w        *wire
	counters backend.Counters
	notify   func()

	mu     sync.Mutex
	frames [][]byte // for the guest
	armed  bool
	fd     int      // an eventfd that is readable while there are frames, or -1
	sent   [][]byte // by the guest
}

const allOffloads = backend.Checksum | backend.TSO4 | backend.TSO6 | backend.ECN | backend.USO

func newWire(pairs int) *wire {
	w := &wire{active: 1, mtu: 1500, fromGuest: allOffloads, toGuest: allOffloads}
	for range pairs {
		w.queues = append(w.queues, &wireQueue{w: w, fd: -1})
	}
	return w
}

// withFDs makes readiness that of descriptors, as taps have it.
func (w *wire) withFDs(tb tester) *wire {
	for _, q := range w.queues {
		var err error
		if q.fd, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
			tb.Fatal(err)
		}
	}
	return w
}

func (*wire) String() string                                    { return "wire" }
func (w *wire) Queues() int                                     { return len(w.queues) }
func (w *wire) Queue(i int) backend.Queue                       { return w.queues[i] }
func (w *wire) MTU() int                                        { return w.mtu }
func (w *wire) Offloads() (fromGuest, toGuest backend.Offloads) { return w.fromGuest, w.toGuest }
func (w *wire) Drops() *backend.Drops                           { return &w.drops }

func (w *wire) SetOffloads(o backend.Offloads) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failing.Load() {
		return errors.New("the test says no")
	}
	w.offloads = o
	return nil
}

func (w *wire) SetActive(pairs int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failing.Load() {
		return errors.New("the test says no")
	}
	w.active = pairs
	return nil
}

func (w *wire) SetSteering(s *backend.Steering) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.noSteering {
		return backend.ErrSteering
	}
	w.steering = s
	return nil
}

func (w *wire) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, q := range w.queues {
		if q.fd >= 0 && !w.closed {
			_ = unix.Close(q.fd)
		}
	}
	w.closed = true
	return nil
}

func (w *wire) state() (active int, o backend.Offloads, s *backend.Steering) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.active, w.offloads, w.steering
}

// put makes a frame, with a plain virtio header, arrive on a queue.
func (w *wire) put(queue int, frame []byte) {
	w.putHeader(queue, backend.Header{NumBuffers: 1}, frame)
}

func (w *wire) putHeader(queue int, h backend.Header, frame []byte) {
	q := w.queues[queue]
	var raw [backend.HeaderLen]byte
	h.Put(&raw)
	q.mu.Lock()
	q.frames = append(q.frames, append(raw[:], frame...))
	if q.fd >= 0 {
		_, _ = unix.Write(q.fd, one)
	}
	tell := q.armed && q.fd < 0
	q.armed = false
	q.mu.Unlock()
	if tell {
		q.notify()
	}
}

// sent are the frames, with their virtio headers, that came from the guest on a queue.
func (w *wire) sent(queue int) [][]byte {
	q := w.queues[queue]
	q.mu.Lock()
	defer q.mu.Unlock()
	return append([][]byte(nil), q.sent...)
}

func (q *wireQueue) isClosed() bool {
	q.w.mu.Lock()
	defer q.w.mu.Unlock()
	return q.w.closed
}

func (q *wireQueue) Transmit(frame [][]byte) {
	if q.isClosed() {
		q.counters.FromGuest.Drops.Add(backend.DropClosed)
		return
	}
	b := make([]byte, backend.Len(frame))
	backend.Gather(b, frame, 0)
	q.counters.FromGuest.Add(len(b))
	q.mu.Lock()
	defer q.mu.Unlock()
	q.sent = append(q.sent, b)
}

func (q *wireQueue) Receive(bufs [][]byte) int {
	if q.isClosed() {
		return 0
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.frames) > 0 {
		f := q.frames[0]
		q.frames = q.frames[1:]
		if len(f) > backend.Len(bufs) {
			q.counters.ToGuest.Drops.Add(backend.DropTooLong)
			continue
		}
		backend.Scatter(bufs, 0, f)
		q.counters.ToGuest.Add(len(f))
		return len(f)
	}
	q.armed = true
	if q.fd >= 0 {
		var b [8]byte
		_, _ = unix.Read(q.fd, b[:])
	}
	return 0
}

func (q *wireQueue) FD() int                     { return q.fd }
func (q *wireQueue) Notify(f func())             { q.notify = f }
func (q *wireQueue) Counters() *backend.Counters { return &q.counters }

// ethernet is a frame to dst with a payload of n bytes that tells it from others.
func ethernet(dst []byte, n int, seed byte) []byte {
	f := make([]byte, 14+n)
	copy(f, dst)
	copy(f[6:], []byte{2, 0, 0, 0, 0, 1})
	binary.BigEndian.PutUint16(f[12:], 0x88b5)
	for i := range n {
		f[14+i] = byte(i)*7 + seed
	}
	return f
}
