package usernet

import (
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// ring is a bounded queue of packets for the guest with many producers, the stack's goroutines, and one consumer, the device's
// receiving side. No lock: a producer takes a place by moving tail, fills it, and publishes it by the place's sequence number
// (D. Vyukov's bounded queue).
type ring struct {
	places []place
	limit  int64 // of bytes
	bytes  atomic.Int64
	_      [64]byte
	tail   atomic.Uint64
	_      [64]byte
	head   uint64 // the consumer's own
	// armed is 1 when the consumer found the ring empty and wants to be told.
	armed  atomic.Uint32
	notify func()
}

// place is one packet's. sequence is the position that may write it next, or that position plus 1 once it is filled.
type place struct {
	sequence atomic.Uint64
	packet   *stack.PacketBuffer
}

func newRing(frames, bytes int) *ring {
	r := &ring{places: make([]place, frames), limit: int64(bytes)}
	for i := range r.places {
		r.places[i].sequence.Store(uint64(i))
	}
	return r
}

// put appends a packet and takes a reference of it, or reports that the ring is full.
func (r *ring) put(p *stack.PacketBuffer) bool {
	n := int64(p.Size())
	if r.bytes.Add(n) > r.limit {
		r.bytes.Add(-n)
		return false
	}
	for {
		at := r.tail.Load()
		pl := &r.places[at&uint64(len(r.places)-1)]
		switch ahead := int64(pl.sequence.Load() - at); {
		case ahead == 0:
			if r.tail.CompareAndSwap(at, at+1) {
				pl.packet = p.IncRef()
				pl.sequence.Store(at + 1)
				if r.armed.Load() == 1 && r.armed.CompareAndSwap(1, 0) {
					r.notify()
				}
				return true
			}
		case ahead < 0: // the consumer has not emptied it yet
			r.bytes.Add(-n)
			return false
		}
	}
}

// get removes the oldest packet, whose reference becomes the caller's. Where there is none, it asks for a notification.
func (r *ring) get() *stack.PacketBuffer {
	if p := r.take(); p != nil || r.notify == nil {
		return p
	}
	// A producer publishes first and looks at armed then; the consumer the other way round. One of them sees the other.
	r.armed.Store(1)
	p := r.take()
	if p != nil {
		r.armed.Store(0)
	}
	return p
}

func (r *ring) take() *stack.PacketBuffer {
	pl := &r.places[r.head&uint64(len(r.places)-1)]
	if pl.sequence.Load() != r.head+1 {
		return nil
	}
	p := pl.packet
	pl.packet = nil
	pl.sequence.Store(r.head + uint64(len(r.places)))
	r.head++
	r.bytes.Add(-int64(p.Size()))
	return p
}
