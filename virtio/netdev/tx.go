package netdev

import (
	"errors"

	"doorbell/virtio"
	"doorbell/virtio/backend"
)

var (
	errTransmitWritable = errors.New("a transmit buffer has a device-writable part")
	errTransmitShort    = errors.New("a transmit buffer is shorter than the virtio header")
	errTransmitLong     = errors.New("a transmit buffer is longer than any packet")
)

// maxOffers is how often a round gives the driver time to send more.
const maxOffers = 3

// From so many frames in a round, its driver has more to send: it is given as much time as the work has taken, but not more than maxRest, in
// nanoseconds, before it is asked for kicks. Frames that are alone wait for nothing.
const (
	floodFrames = 4
	maxRest     = 500e3
)

// publishBytes is after how many bytes a round shows the driver what is sent, for it may wait for the memory (TCP small queues).
const publishBytes = 16 << 10

// transmitter is the goroutine of a transmit queue.
type transmitter struct {
	thread
	pair     int
	sink     backend.Queue
	coalesce coalescer
	chain    *virtio.Chain
	header   int      // length of the virtio header: 12, or 20 with a hash
	list     [][]byte // a frame without the hash
	bytes    uint64   // of all frames
	closed   uint64   // frames that a closed backend had dropped when it was last looked at
}

func (t *transmitter) run() {
	t.queue.DisableKicks()
	defer t.coalesce.flush()
	t.closed = t.sink.Counters().FromGuest.Drops.Load(backend.DropClosed)
	spinning := t.device.cfg.IO == Spin
	var spin spins
	for !t.stopping.Load() {
		t.coalesce.check()
		used := t.pair < t.device.policy.Load().transmit
		if used {
			n, err := t.round()
			if err != nil {
				return
			}
			if n > 0 {
				continue
			}
			if spinning {
				spin.idle()
				continue
			}
			if t.queue.EnableKicks() {
				t.queue.DisableKicks()
				continue
			}
		}
		t.stats.Waits.Add(1)
		t.waiter.wait(false, t.coalesce.deadline())
		t.kicked()
		t.queue.DisableKicks()
	}
}

// round transmits up to a batch of frames and gives their chains back. Where there is no more, it gives the driver some time to send more.
func (t *transmitter) round() (n int, err error) {
	began, offers, shown := now(), 0, t.bytes
	rested := int64(0)
	for limit := t.coalesce.budget(batch); n < limit; n++ {
		ok, err := t.queue.Pop(t.chain)
		if err != nil {
			return n, err
		}
		for ; !ok && n > 0 && offers < maxOffers; offers++ {
			t.coalesce.publish()
			rested += t.offer(n, now()-began-rested)
			if ok, err = t.queue.Pop(t.chain); err != nil {
				return n, err
			}
		}
		if !ok {
			break
		}
		if err := t.transmit(); err != nil {
			t.queue.Fail(err)
			return n, err
		}
		t.queue.Push(t.chain, 0)
		if t.bytes-shown >= publishBytes {
			t.coalesce.publish()
			shown = t.bytes
		}
	}
	if n > 0 {
		t.coalesce.publish()
		t.coalesce.worked((now() - began - rested) / int64(n))
		t.coalesce.ended(n)
		if lost := t.sink.Counters().FromGuest.Drops.Load(backend.DropClosed); lost != t.closed {
			t.closed = lost
			t.device.backendGone()
		}
	}
	return n, nil
}

// offer gives the driver time to send more, after a round's n frames that took so long, and returns how long it did. Where processors are short,
// the driver is likely to wait for one, and it is offered; otherwise that takes about a microsecond.
func (t *transmitter) offer(n int, worked int64) int64 {
	began := now()
	if n < floodFrames || t.device.cfg.IO == Spin {
		yield()
	} else {
		t.waiter.wait(false, began+min(worked, maxRest))
		t.kicked()
	}
	return now() - began
}

func (t *transmitter) transmit() error {
	n := t.chain.ReadableLen()
	switch {
	case t.chain.WritableLen() > 0:
		return errTransmitWritable
	case n < uint64(t.header):
		return errTransmitShort
	case n > uint64(backend.MaxFrame+t.header-backend.HeaderLen):
		return errTransmitLong
	case t.device.policy.Load().linkDown:
		t.stats.Drops[DropLink].Add(1)
		return nil
	}
	frame := t.chain.Readable()
	if t.header != backend.HeaderLen {
		t.list = withoutHash(t.list, frame)
		frame = t.list
	}
	t.sink.Transmit(frame)
	t.stats.Packets.Add(1)
	t.stats.Bytes.Add(n - uint64(t.header))
	t.bytes += n
	return nil
}
