package tap

import (
	"sync/atomic"

	"doorbell/virtio/backend"

	"golang.org/x/sys/unix"
)

// queue is one queue pair, which is one descriptor.
type queue struct {
	tap      *Tap
	fd       int         // owned; closed behind the gate
	gone     atomic.Bool // fd is not the interface any more
	gate     *backend.Gate
	counters backend.Counters
	out, in  vector // one for each direction, whose user is one at a time
}

var _ backend.Queue = (*queue)(nil)

// Transmit implements backend.Queue.
func (q *queue) Transmit(frame [][]byte) {
	if !q.gate.Enter() {
		q.counters.FromGuest.Drops.Add(backend.DropClosed)
		return
	}
	defer q.gate.Leave()
	if q.gone.Load() {
		q.counters.FromGuest.Drops.Add(backend.DropClosed)
		return
	}
	n, errno := q.out.writev(q.fd, frame)
	if errno != 0 {
		q.counters.FromGuest.Drops.Add(q.why(errno, frame))
		return
	}
	q.counters.FromGuest.Add(n)
}

// why names the reason for which the kernel did not take a frame.
func (q *queue) why(errno unix.Errno, frame [][]byte) backend.Drop {
	switch {
	case errno == unix.EBADFD || q.gone.Load():
		return backend.DropClosed
	case errno == unix.EAGAIN:
		return backend.DropQueueFull
	case errno != unix.EINVAL:
		return backend.DropHost // EIO: the interface is down
	}
	// The kernel's own inspection of the virtio header, which refuses also what it does not know.
	var head [2]byte
	backend.Gather(head[:], frame, 0)
	if offered, _ := q.tap.Offloads(); needs(head[0], head[1])&^offered != 0 {
		return backend.DropOffload
	}
	return backend.DropMalformed
}

// maxLost bounds the frames that one Receive drops, so that a sender without pause cannot keep it.
const maxLost = 64

// Receive implements backend.Queue. After many drops in a row it answers 0 also when there is more: the descriptor says so.
func (q *queue) Receive(bufs [][]byte) int {
	if !q.gate.Enter() {
		return 0
	}
	defer q.gate.Leave()
	if q.gone.Load() {
		return 0
	}
	for range maxLost {
		n, room, errno := q.in.readv(q.fd, bufs)
		switch {
		case errno == unix.EAGAIN:
			return 0
		case errno == unix.EBADFD:
			q.lose()
			return 0
		case errno != 0:
			q.counters.ToGuest.Drops.Add(backend.DropHost) // the frame is gone: its header cannot be expressed
		case n > room:
			q.counters.ToGuest.Drops.Add(backend.DropTooLong)
		case n < backend.HeaderLen:
			return 0
		case !q.accept(bufs):
			q.counters.ToGuest.Drops.Add(backend.DropOffload) // queued before SetOffloads
		default:
			q.counters.ToGuest.Add(n)
			return n
		}
	}
	return 0
}

// Where a virtio header has num_buffers, which the kernel leaves alone, and flags.
const (
	flagsAt      = 0
	numBuffersAt = 10
)

var one, zero = [2]byte{1, 0}, [1]byte{0}

// accept finishes the header, and reports whether the driver has accepted what it asks.
func (q *queue) accept(bufs [][]byte) bool {
	backend.Scatter(bufs, numBuffersAt, one[:])
	var head [2]byte
	backend.Gather(head[:], bufs, flagsAt)
	if head == [2]byte{} {
		return true
	}
	accepted := backend.Offloads(q.tap.accepted.Load())
	if needs(head[0], head[1])&^accepted != 0 {
		return false
	}
	if accepted&backend.Checksum == 0 {
		// VIRTIO_NET_HDR_F_DATA_VALID, which is only for drivers with VIRTIO_NET_F_GUEST_CSUM (virtio 1.2, 5.1.6.4.1).
		backend.Scatter(bufs, flagsAt, zero[:])
	}
	return true
}

// lose puts a file that is never readable in the place of an interface that is gone: see the package's comment.
func (q *queue) lose() {
	q.tap.gone.Store(true)
	q.gone.Store(true) // first: nobody who reads it false may take the other file's errors for the interface's
	_ = unix.Dup3(q.tap.idle, q.fd, unix.O_CLOEXEC)
}

// FD implements backend.Queue.
func (q *queue) FD() int {
	if !q.gate.Enter() {
		return -1
	}
	defer q.gate.Leave()
	return q.fd
}

// close waits until nobody uses the queue.
func (q *queue) close() error {
	q.gate.Close()
	return unix.Close(q.fd)
}

// Notify implements backend.Queue: readiness is the descriptor's.
func (*queue) Notify(func()) {}

// Counters implements backend.Queue.
func (q *queue) Counters() *backend.Counters { return &q.counters }
