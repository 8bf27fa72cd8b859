package netdev

import (
	"sync/atomic"

	"doorbell/virtio"
)

// Coalescing are the parameters of struct virtio_net_ctrl_coal: an interrupt comes with the MaxPackets-th packet or MaxUsecs microseconds
// after the first that no interrupt told of, whichever is first. If either is 0, every batch is told of at once.
type Coalescing struct {
	MaxPackets uint32 `json:"max_packets"`
	MaxUsecs   uint32 `json:"max_usecs"`
}

// coalescingWord is Coalescing as one atomic word, so that the queue's goroutine sees both of one command.
type coalescingWord struct{ v atomic.Uint64 }

func (w *coalescingWord) store(c Coalescing) {
	w.v.Store(uint64(c.MaxUsecs)<<32 | uint64(c.MaxPackets))
}

func (w *coalescingWord) load() Coalescing {
	v := w.v.Load()
	return Coalescing{MaxPackets: uint32(v), MaxUsecs: uint32(v >> 32)}
}

func (c Coalescing) on() bool { return c.MaxPackets != 0 && c.MaxUsecs != 0 }

// coalescer decides when a queue interrupts. Its methods are the queue's goroutine's.
type coalescer struct {
	queue  *virtio.Queue
	stats  *QueueStats
	params *coalescingWord

	waiting uint32 // packets published and not told of
	since   int64  // when the first of them was
}

// budget is how many packets of a batch of at most limit may be published before the driver is to be told.
func (c *coalescer) budget(limit int) int {
	if p := c.params.load(); p.on() && c.waiting < p.MaxPackets {
		return int(min(uint32(limit), p.MaxPackets-c.waiting))
	}
	return limit
}

// published says that n packets have just been published.
func (c *coalescer) published(n int) {
	if n == 0 {
		return
	}
	if p := c.params.load(); !p.on() {
		c.waiting = 0
		c.queue.Notify()
		return
	}
	if c.waiting == 0 {
		c.since = now()
	}
	c.waiting += uint32(n)
	if !c.check() {
		c.stats.Coalesced.Add(1)
	}
}

// check interrupts if it is time, also since the parameters have changed, and says whether nothing waits any more.
func (c *coalescer) check() bool {
	if c.waiting == 0 {
		return true
	}
	p := c.params.load()
	if p.on() && c.waiting < p.MaxPackets && now()-c.since < int64(p.MaxUsecs)*1000 {
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
	return c.since + int64(c.params.load().MaxUsecs)*1000
}
