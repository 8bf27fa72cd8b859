package netdev

import (
	"math"
	"sync/atomic"

	"doorbell/virtio"
)

// Coalescing are the parameters of struct virtio_net_ctrl_coal: an interrupt comes with the MaxPackets-th packet or MaxUsecs microseconds
// after the first that no interrupt told of, whichever is first. Without packets the time decides alone, as ethtool -C rx-usecs has it; without
// a time every batch is told of at once, since a last packet would wait for ever.
type Coalescing struct {
	MaxPackets uint32 `json:"max_packets"`
	MaxUsecs   uint32 `json:"max_usecs"`
}

// coalescingWord is Coalescing as one atomic word, so that the queue's goroutine sees both of one command, and whether there was a command.
type coalescingWord struct {
	v   atomic.Uint64
	set atomic.Bool
}

// store stores what the driver has set, or nil if it has set nothing, which reads as zeros (section 5.1.6.5.8).
func (w *coalescingWord) store(c *Coalescing) {
	if c == nil {
		w.set.Store(false)
		w.v.Store(0)
		return
	}
	w.v.Store(uint64(c.MaxUsecs)<<32 | uint64(c.MaxPackets))
	w.set.Store(true)
}

func (w *coalescingWord) load() Coalescing {
	v := w.v.Load()
	return Coalescing{MaxPackets: uint32(v), MaxUsecs: uint32(v >> 32)}
}

func (c Coalescing) on() bool { return c.MaxUsecs != 0 }

// coalescer decides when a queue interrupts. Its methods are the queue's goroutine's.
type coalescer struct {
	queue  *virtio.Queue
	stats  *QueueStats
	params *coalescingWord

	waiting uint32 // packets published and not told of
	since   int64  // when the first of them was
	batches uint64 // of this round

	// own is what a queue does while the driver has set nothing.
	own limits
}

// limits are Coalescing with the time in nanoseconds, and the most packets there can be where they do not count.
type limits struct {
	packets uint32
	time    int64
}

func (l limits) on() bool { return l.time != 0 }

// A transmit queue whose driver has set nothing tells of what is sent a little later, as NICs do: with the next interrupt for what is received,
// Linux's driver looks at it anyway, and wants none of its own then. The time is that of ownFrames frames' work, since hosts differ, within
// bounds in nanoseconds that are usual for a NIC on the one side and that a sender's queue does not notice on the other (TCP small queues are
// of a millisecond).
const (
	ownPackets = 32
	ownFrames  = 8
	ownLeast   = 50e3
	ownMost    = 2e6
)

// worked says how long a frame's work took, on a transmit queue.
func (c *coalescer) worked(time int64) {
	c.own = limits{uint32(min(ownPackets, max(c.queue.Size()/8, 1))), min(max(ownFrames*time, ownLeast), ownMost)}
}

// limits are those in force.
func (c *coalescer) limits() limits {
	if !c.params.set.Load() {
		return c.own
	}
	p := c.params.load()
	if p.MaxPackets == 0 {
		p.MaxPackets = math.MaxUint32
	}
	return limits{p.MaxPackets, int64(p.MaxUsecs) * 1000}
}

// budget is how many packets of a batch of at most limit may be published before the driver is to be told.
func (c *coalescer) budget(limit int) int {
	if p := c.params.load(); p.on() && c.waiting < p.MaxPackets {
		return int(min(uint32(limit), p.MaxPackets-c.waiting))
	}
	return limit
}

// publish shows the driver what has been pushed. ended, at the end of the round, decides on the interrupt of all of its batches.
func (c *coalescer) publish() {
	if c.queue.Publish() {
		c.batches++
	}
}

// ended says that the round has ended, with n packets published.
func (c *coalescer) ended(n int) {
	if n == 0 {
		return
	}
	batches := c.batches
	c.batches = 0
	if !c.limits().on() {
		c.waiting = uint32(n)
		c.flush()
		batches--
	} else {
		if c.waiting == 0 {
			c.since = now()
		}
		c.waiting += uint32(n)
		if c.check() {
			batches--
		}
	}
	c.stats.Coalesced.Add(batches)
}

// check interrupts if it is time, also since the parameters have changed, and says whether nothing waits any more.
func (c *coalescer) check() bool {
	if c.waiting == 0 {
		return true
	}
	if l := c.limits(); l.on() && c.waiting < l.packets && now()-c.since < l.time {
		return false
	}
	c.flush()
	return true
}

// flush tells the driver now, for instance since it has to give buffers.
func (c *coalescer) flush() {
	if c.waiting > 0 {
		c.waiting = 0
		c.queue.Notify()
	}
}

// deadline is when check has to be called next, or 0.
func (c *coalescer) deadline() int64 {
	if c.waiting == 0 {
		return 0
	}
	return c.since + c.limits().time
}
