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

// maxOffers is how often a round offers the processor.
const maxOffers = 3

// transmitter is the goroutine of a transmit queue.
type transmitter struct {
	thread
	pair     int
	sink     backend.Queue
	coalesce coalescer
	chain    *virtio.Chain
	header   int      // length of the virtio header: 12, or 20 with a hash
	list     [][]byte // a frame without the hash
	closed   uint64   // frames that a closed backend had dropped when it was last looked at
}

func (t *transmitter) run() {
	t.queue.DisableKicks()
	defer t.coalesce.flush()
	t.closed = t.sink.Counters().Drops.Load(backend.DropClosed)
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

// round transmits up to a batch of frames and gives their chains back. They are on their way then: only the driver's memory waits for the
// round's end. So, when there is no more, the processor is offered to others a few times before the driver is told: where processors are
// short, the driver is likely to wait for one and to have more to send. Otherwise the offers take about a microsecond.
func (t *transmitter) round() (n int, err error) {
	offers := 0
	for limit := t.coalesce.budget(batch); n < limit; n++ {
		ok, err := t.queue.Pop(t.chain)
		if err != nil {
			return n, err
		}
		for ; !ok && n > 0 && offers < maxOffers; offers++ {
			yield()
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
	}
	if n > 0 {
		t.queue.Publish()
		t.coalesce.published(n)
		if lost := t.sink.Counters().Drops.Load(backend.DropClosed); lost != t.closed {
			t.closed = lost
			t.device.backendGone()
		}
	}
	return n, nil
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
	return nil
}
