package loop

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"

	"doorbell/internal/ledger"
	"doorbell/virtio/backend"
)

// assignment is what a queue generates.
type assignment struct {
	flows []uint16
	rate  float64 // frames per second; 0 is without limit
}

// queue is one queue pair.
type queue struct {
	loop     *Loop
	gate     *backend.Gate
	counters backend.Counters
	sent     ledger.Shared
	assigned atomic.Pointer[assignment]

	// The receiving side's own.
	frame   []byte
	number  uint64
	flow    int
	waiting int           // frames that are due
	current *assignment   // the assignment that clock belongs to
	clock   time.Duration // when, after Loop.start, the last due burst was

	armed  atomic.Bool // the receiving side has found nothing and wants to be told
	notify func()
	timer  *time.Timer // tells it when the next burst is due

	echoMu sync.Mutex // guards the echoed frames
	echoes [][]byte   // a ring; its buffers are used again
	head   int
	count  int
}

var _ backend.Queue = (*queue)(nil)

func newQueue(l *Loop, _ int) *queue {
	q := &queue{loop: l, gate: backend.NewGate(), frame: l.frame()}
	if l.cfg.Echo {
		q.echoes = make([][]byte, l.cfg.Backlog)
	}
	q.timer = time.AfterFunc(time.Hour, q.ready)
	q.timer.Stop()
	return q
}

// ready tells the receiving side, if it waits, to look again.
func (q *queue) ready() {
	if !q.gate.Enter() {
		return
	}
	defer q.gate.Leave()
	if q.armed.CompareAndSwap(true, false) {
		q.notify()
	}
}

// Transmit implements backend.Queue.
func (q *queue) Transmit(frame [][]byte) {
	if !q.gate.Enter() {
		q.counters.FromGuest.Drops.Add(backend.DropClosed)
		return
	}
	n := backend.Len(frame)
	if n < backend.HeaderLen+backend.EthernetLen || n > backend.MaxFrame {
		q.counters.FromGuest.Drops.Add(backend.DropMalformed)
		q.gate.Leave()
		return
	}
	q.counters.FromGuest.Add(n)
	echoed := q.loop.cfg.Echo
	if echoed {
		q.echo(frame, n)
	}
	q.gate.Leave()
	if echoed {
		q.ready()
	}
}

// echo keeps a copy of a frame, with its addresses exchanged, for the receiving side.
func (q *queue) echo(frame [][]byte, n int) {
	q.sent.Add(1)
	q.echoMu.Lock()
	defer q.echoMu.Unlock()
	if q.count == len(q.echoes) {
		q.counters.ToGuest.Drops.Add(backend.DropQueueFull)
		return
	}
	at := &q.echoes[(q.head+q.count)%len(q.echoes)]
	if cap(*at) < n {
		*at = make([]byte, n)
	}
	b := (*at)[:n]
	*at = b
	backend.Gather(b, frame, 0)
	const dst, src, end = backend.HeaderLen, backend.HeaderLen + 6, backend.HeaderLen + 12
	var mac [6]byte
	copy(mac[:], b[dst:src])
	copy(b[dst:src], b[src:end])
	copy(b[src:end], mac[:])
	binary.LittleEndian.PutUint16(b[10:], 1) // num_buffers
	q.count++
}

// Receive implements backend.Queue: an echoed frame if there is one, else a generated one if one is due.
func (q *queue) Receive(bufs [][]byte) int {
	if !q.gate.Enter() {
		return 0
	}
	defer q.gate.Leave()
	if n := q.next(bufs); n > 0 || q.notify == nil {
		return n
	}
	q.armed.Store(true)
	n := q.next(bufs)
	if n > 0 {
		q.armed.Store(false)
	} else {
		q.wake()
	}
	return n
}

func (q *queue) next(bufs [][]byte) int {
	for q.echoes != nil {
		n, any := q.nextEcho(bufs)
		if n > 0 {
			return n
		}
		if !any {
			break
		}
	}
	a := q.assigned.Load()
	for len(a.flows) > 0 && q.due(a) {
		if n := q.generate(a, bufs); n > 0 {
			return n
		}
	}
	return 0
}

// nextEcho takes the oldest echoed frame. n is 0 with any set if it was dropped.
func (q *queue) nextEcho(bufs [][]byte) (n int, any bool) {
	q.echoMu.Lock()
	defer q.echoMu.Unlock()
	if q.count == 0 {
		return 0, false
	}
	b := q.echoes[q.head]
	q.head = (q.head + 1) % len(q.echoes)
	q.count--
	return q.deliver(bufs, b, nil), true
}

// deliver stores a frame, given in two parts, for the guest.
func (q *queue) deliver(bufs [][]byte, first, second []byte) int {
	n := len(first) + len(second)
	if n > backend.Len(bufs) {
		q.counters.ToGuest.Drops.Add(backend.DropTooLong)
		return 0
	}
	backend.Scatter(bufs, 0, first)
	backend.Scatter(bufs, len(first), second)
	q.counters.ToGuest.Add(n)
	return n
}

// due reports whether a frame may be generated, and drops what has waited too long.
func (q *queue) due(a *assignment) bool {
	if a.rate == 0 {
		n := q.loop.take(1)
		q.sent.Add(n)
		return n == 1
	}
	q.tick(a)
	if q.waiting == 0 {
		return false
	}
	q.waiting--
	return true
}

// interval is the time between bursts.
func (q *queue) interval(a *assignment) time.Duration {
	return max(time.Duration(float64(q.loop.cfg.Burst)/a.rate*float64(time.Second)), 1)
}

// tick makes the frames due whose time has come, and drops the oldest beyond the backlog.
func (q *queue) tick(a *assignment) {
	now := time.Since(q.loop.start)
	if q.current != a {
		q.current, q.clock = a, now // a new assignment starts its own clock
	}
	bursts := int64((now - q.clock) / q.interval(a))
	q.clock += time.Duration(bursts) * q.interval(a)
	taken := q.loop.take(uint64(bursts) * uint64(q.loop.cfg.Burst))
	q.sent.Add(taken)
	if waiting := uint64(q.waiting) + taken; waiting > uint64(q.loop.cfg.Backlog) {
		lost := waiting - uint64(q.loop.cfg.Backlog)
		q.counters.ToGuest.Drops[backend.DropQueueFull].Add(lost)
		q.number += lost
		q.waiting = q.loop.cfg.Backlog
	} else {
		q.waiting = int(waiting)
	}
}

// generate stores the next frame.
func (q *queue) generate(a *assignment, bufs [][]byte) int {
	setFlow(q.frame, a.flows[q.flow%len(a.flows)])
	q.flow++
	binary.BigEndian.PutUint64(q.frame[numberAt:], q.number)
	q.number++
	return q.deliver(bufs, complete[:], q.frame)
}

// complete is the virtio header of a frame that leaves nothing to do, in one buffer.
var complete = [backend.HeaderLen]byte{10: 1}

// wake arranges a notification for the next burst.
func (q *queue) wake() {
	a := q.assigned.Load()
	if a.rate > 0 && len(a.flows) > 0 && (q.loop.cfg.Forever || q.loop.left.Load() > 0) {
		q.timer.Reset(max(q.clock+q.interval(a)-time.Since(q.loop.start), 0))
	}
}

// FD implements backend.Queue.
func (*queue) FD() int { return -1 }

// Notify implements backend.Queue.
func (q *queue) Notify(f func()) { q.notify = f }

// Counters implements backend.Queue.
func (q *queue) Counters() *backend.Counters { return &q.counters }

func (q *queue) close() {
	q.gate.Close()
	q.timer.Stop()
}
