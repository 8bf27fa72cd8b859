package loop

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"doorbell/virtio/backend"
)

// Loop is the backend.
type Loop struct {
	cfg    Config
	queues []*queue
	drops  backend.Drops
	left   atomic.Uint64 // frames still to generate, if not Config.Forever
	start  time.Time

	change sync.Mutex // orders SetActive and SetSteering
	active int
	rss    *backend.Steering
}

var _ backend.Backend = (*Loop)(nil)

// New starts the clock of the generator.
func New(cfg Config) (*Loop, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	l := &Loop{cfg: cfg, start: time.Now(), active: 1}
	l.left.Store(cfg.Count)
	for i := range cfg.Queues {
		l.queues = append(l.queues, newQueue(l, i))
	}
	l.assign()
	return l, nil
}

// assign gives each active queue its flows and its share of the rate. The caller holds change, or is New.
func (l *Loop) assign() {
	flows := make([][]uint16, l.cfg.Queues)
	frame := l.frame()
	for f := range l.cfg.Flows {
		q := f % l.active
		setFlow(frame, uint16(f))
		if l.rss != nil {
			q = int(l.rss.Queue(frame)) % l.active
		}
		flows[q] = append(flows[q], uint16(f))
	}
	for i, q := range l.queues {
		a := &assignment{flows: flows[i]}
		if len(a.flows) > 0 {
			a.rate = l.cfg.Rate * float64(len(a.flows)) / float64(l.cfg.Flows)
		}
		q.assigned.Store(a)
		q.ready()
	}
}

// String implements backend.Backend.
func (*Loop) String() string { return "loop" }

// Queues implements backend.Backend.
func (l *Loop) Queues() int { return len(l.queues) }

// Queue implements backend.Backend.
func (l *Loop) Queue(i int) backend.Queue { return l.queues[i] }

// MTU implements backend.Backend.
func (l *Loop) MTU() int { return l.cfg.MTU }

// Offloads implements backend.Backend. Nobody looks at what the guest leaves undone; what it is sent is complete. An echoed frame
// comes back with its own header.
func (l *Loop) Offloads() (fromGuest, toGuest backend.Offloads) {
	all := backend.Checksum | backend.TSO4 | backend.TSO6 | backend.ECN | backend.USO
	if l.cfg.Echo {
		return all, all
	}
	return all, 0
}

// SetOffloads implements backend.Backend.
func (l *Loop) SetOffloads(toGuest backend.Offloads) error {
	if _, offered := l.Offloads(); toGuest&^offered != 0 {
		return fmt.Errorf("loop: offload %v to the guest is not offered", toGuest&^offered)
	}
	return nil
}

// SetActive implements backend.Backend.
func (l *Loop) SetActive(pairs int) error {
	if pairs < 1 || pairs > len(l.queues) {
		return fmt.Errorf("loop: %d active queue pairs of %d", pairs, len(l.queues))
	}
	l.change.Lock()
	defer l.change.Unlock()
	l.active = pairs
	l.assign()
	return nil
}

// SetSteering implements backend.Backend: each flow is generated on the queue that s gives it.
func (l *Loop) SetSteering(s *backend.Steering) error {
	l.change.Lock()
	defer l.change.Unlock()
	l.rss = s
	l.assign()
	return nil
}

// Drops implements backend.Backend; there is nothing behind the queues.
func (l *Loop) Drops() *backend.Drops { return &l.drops }

// Close implements backend.Backend.
func (l *Loop) Close() error {
	for _, q := range l.queues {
		q.close()
	}
	return nil
}

// Sent is the number of frames that were generated or echoed on a queue: those delivered, those dropped, and those that wait.
func (l *Loop) Sent(queue int) uint64 { return l.queues[queue].sent.Load() }

// take takes up to n of the frames that are left to generate.
func (l *Loop) take(n uint64) uint64 {
	if l.cfg.Forever {
		return n
	}
	for {
		left := l.left.Load()
		n = min(n, left)
		if n == 0 || l.left.CompareAndSwap(left, left-n) {
			return n
		}
	}
}
