package tap

import (
	"doorbell/virtio/backend"

	"golang.org/x/sys/unix"
)

// queue is one queue pair, which is one descriptor.
type queue struct {
	fd       int // owned; closed behind the gate
	gate     *backend.Gate
	counters backend.Counters
	out, in  vector // one for each direction, whose user is one at a time
	bounce   []byte // for frames to a guest that has given less room than a frame may need; made when it does
}

var _ backend.Queue = (*queue)(nil)

// Transmit implements backend.Queue.
func (q *queue) Transmit(frame [][]byte) {
	if !q.gate.Enter() {
		q.counters.Drops.Add(backend.DropClosed)
		return
	}
	defer q.gate.Leave()
	n := backend.Len(frame)
	if n < backend.HeaderLen+backend.EthernetLen || n > backend.MaxFrame {
		q.counters.Drops.Add(backend.DropMalformed)
		return
	}
	switch _, errno := q.out.writev(q.fd, frame); errno {
	case 0:
		q.counters.FromGuest.Add(n)
	case unix.EAGAIN:
		q.counters.Drops.Add(backend.DropQueueFull)
	case unix.EINVAL:
		// The kernel's own inspection of the virtio header, or more slices than it takes.
		q.counters.Drops.Add(backend.DropMalformed)
	case unix.EBADFD:
		q.counters.Drops.Add(backend.DropClosed) // the interface is gone
	default:
		q.counters.Drops.Add(backend.DropHost) // EIO: the interface is down
	}
}

// Receive implements backend.Queue.
func (q *queue) Receive(bufs [][]byte) int {
	if !q.gate.Enter() {
		return 0
	}
	defer q.gate.Leave()
	room := backend.Len(bufs)
	if room < backend.MaxFrame || len(bufs) > maxVector {
		// readv would cut the frame and not say so.
		return q.receiveThrough(bufs, room)
	}
	n, errno := q.in.readv(q.fd, bufs)
	if errno != 0 || n < backend.HeaderLen {
		return 0
	}
	backend.Scatter(bufs, numBuffersAt, one[:])
	q.counters.ToGuest.Add(n)
	return n
}

// numBuffersAt is where a virtio header has num_buffers, which the kernel leaves alone.
const numBuffersAt = 10

var one = [2]byte{1, 0}

// receiveThrough receives by way of a buffer in which every frame has room.
func (q *queue) receiveThrough(bufs [][]byte, room int) int {
	if q.bounce == nil {
		q.bounce = make([]byte, backend.MaxFrame)
	}
	for {
		n, err := unix.Read(q.fd, q.bounce)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n < backend.HeaderLen {
			return 0
		}
		if n > room {
			q.counters.Drops.Add(backend.DropTooLong)
			continue
		}
		copy(q.bounce[numBuffersAt:], one[:])
		backend.Scatter(bufs, 0, q.bounce[:n])
		q.counters.ToGuest.Add(n)
		return n
	}
}

// FD implements backend.Queue.
func (q *queue) FD() int { return q.fd }

// Notify implements backend.Queue: readiness is the descriptor's.
func (*queue) Notify(func()) {}

// Counters implements backend.Queue.
func (q *queue) Counters() *backend.Counters { return &q.counters }
