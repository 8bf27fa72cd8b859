package netdev

import (
	"encoding/binary"

	"doorbell/virtio/backend"
)

// stallTime is how long a frame waits for the driver to give as many buffers as it needs. A driver that has none left to give never will.
const stallTime = 100e6

// receiver is the goroutine of a receive queue.
type receiver struct {
	thread
	pair     int
	source   backend.Queue
	buffers  *buffers
	coalesce coalescer
	report   bool // VIRTIO_NET_F_HASH_REPORT
	lost     bool // the backend's descriptor has failed

	header [backend.HeaderLen]byte
	head   [headLen]byte

	bounce []byte // a frame for which the driver had not given enough room, or that is to be steered; made when it is needed
	held   int    // its length, or 0
	stall  int64  // when the frame at hand is given up, if the driver gives nothing; or 0
	view   [1][]byte
	parts  [2][]byte
	turn   int // the receiver whose relay is looked at next
}

// outcome is why a round ended.
type outcome uint8

const (
	more    outcome = iota // there may be more to do
	idle                   // the backend has nothing
	starved                // the driver has given no buffers
	failed                 // the queue is stopped
)

func (r *receiver) run() {
	r.queue.DisableKicks()
	defer r.coalesce.flush()
	var spin spins
	for !r.stopping.Load() {
		r.coalesce.check()
		p := r.device.policy.Load()
		state := idle
		used := r.pair < p.receive
		if used {
			state = r.round(p)
		} else {
			r.waiter.detach()
		}
		if state == failed {
			r.serveOthers()
			return
		}
		if state == more {
			continue
		}
		if r.waiter.hungUp {
			r.hungUp()
			continue
		}
		if used && r.device.cfg.IO == Spin && !r.lost {
			if state == starved {
				r.coalesce.flush()
			}
			spin.idle()
			continue
		}
		r.wait(p, state, used)
	}
}

// serveOthers is what is left to a receiver whose queue is stopped: in a device that steers, what its backend has may be for others.
func (r *receiver) serveOthers() {
	r.held = 0
	for !r.stopping.Load() {
		p := r.device.policy.Load()
		sorts := r.pair < p.receive && p.relays != nil && p.steer != nil && !r.lost
		if sorts {
			for !r.stopping.Load() && r.sort() {
			}
		} else {
			r.waiter.detach()
		}
		if r.waiter.hungUp {
			r.hungUp()
			continue
		}
		r.waiter.wait(sorts, 0)
		r.kicked()
	}
}

// wait waits for what the outcome of a round says is missing.
func (r *receiver) wait(p *policy, state outcome, used bool) {
	if state == starved {
		// The driver may need to be told to give buffers.
		r.coalesce.flush()
		if r.queue.EnableKicks() {
			r.queue.DisableKicks()
			return
		}
	}
	deadline := r.coalesce.deadline()
	if r.stall != 0 && (deadline == 0 || r.stall < deadline) {
		deadline = r.stall
	}
	r.stats.Waits.Add(1)
	r.waiter.wait(used && !r.lost && (state == idle || p.steer != nil), deadline)
	r.kicked()
	if state == starved {
		r.queue.DisableKicks()
	}
}

// hungUp deals with an error at the backend's descriptor. Of a queue that is used it means that the backend is gone.
func (r *receiver) hungUp() {
	r.waiter.hungUp = false
	if r.pair < r.device.policy.Load().receive {
		r.lost = true
		r.device.backendGone()
	}
	r.waiter.detach()
}

// round gives the driver up to a batch of frames and publishes them.
func (r *receiver) round(p *policy) outcome {
	n, limit, state := 0, r.coalesce.budget(batch), more
	for tries := 0; n < limit && tries < batch && state == more; tries++ {
		var given bool
		given, state = r.next(p)
		if given {
			n++
		}
	}
	if n > 0 {
		r.coalesce.publish()
		r.coalesce.ended(n)
	}
	return state
}

// next gives the driver one frame, or drops it.
func (r *receiver) next(p *policy) (given bool, state outcome) {
	switch {
	case r.held > 0:
		return r.giveHeld()
	case p.relays != nil:
		return r.nextSteered(p)
	}
	enough, err := r.buffers.fill(r.room(p))
	switch {
	case err != nil:
		return false, failed
	case r.buffers.count == 0:
		return false, starved
	case !enough && r.buffers.merge && !r.buffers.full():
		// It may be longer than what is there.
		if !r.receive() {
			return false, idle
		}
		return r.giveHeld()
	}
	view := r.buffers.view()
	n := r.source.Receive(view)
	// What the driver has set before the frame came applies to it, though the round has begun before.
	p = r.device.policy.Load()
	steered := n > 0 && p.steer != nil
	if steered {
		r.makeBounce()
		backend.Gather(r.bounce[:n], view, 0)
	}
	r.buffers.unview()
	switch {
	case n == 0:
		return false, idle
	case steered:
		r.hand(p, n)
		return false, more
	}
	list := r.buffers.segments()
	backend.Gather(r.header[:], list, 0)
	head := r.look(p, list, r.buffers.header)
	why, ok, clean := p.judge(&r.header, head[:min(len(head), n-backend.HeaderLen)], n)
	if !ok {
		r.stats.Drops[why].Add(1)
		return false, more
	}
	r.give(p, list, head, n, clean)
	return true, more
}

// room is how much a frame may take.
func (r *receiver) room(p *policy) int { return p.room + r.buffers.header - backend.HeaderLen }

// look copies the beginning of the frame at off, if anybody wants to see it.
func (r *receiver) look(p *policy, list [][]byte, off int) []byte {
	if p.filter == nil && !r.report && p.steer == nil {
		return nil
	}
	return r.head[:backend.Gather(r.head[:], list, off)]
}

// give finishes the header of a frame that is stored in the held chains, list, and uses them. n is its length without the hash.
func (r *receiver) give(p *policy, list [][]byte, head []byte, n int, clean bool) {
	if clean {
		backend.Scatter(list, 0, []byte{0})
	}
	if r.report {
		var b [hashLen]byte
		if p.hash != nil {
			hash, report := p.hash.Hash(head[:min(len(head), n-backend.HeaderLen)])
			binary.LittleEndian.PutUint32(b[:], hash)
			binary.LittleEndian.PutUint16(b[4:], report)
		}
		backend.Scatter(list, backend.HeaderLen, b[:])
	}
	r.buffers.use(n + r.buffers.header - backend.HeaderLen)
	r.stats.Packets.Add(1)
	r.stats.Bytes.Add(uint64(n - backend.HeaderLen))
	r.stall = 0
}

// makeBounce makes the device's own buffer, which most receivers never need.
func (r *receiver) makeBounce() {
	if r.bounce == nil {
		r.bounce = make([]byte, backend.MaxFrame)
	}
}

// receive takes a frame into the device's own buffer.
func (r *receiver) receive() bool {
	r.makeBounce()
	r.view[0] = r.bounce
	r.held = r.source.Receive(r.view[:])
	return r.held > 0
}

// giveHeld gives the driver the frame in the device's own buffer, or another receiver, where the device has begun to steer.
func (r *receiver) giveHeld() (given bool, state outcome) {
	if p := r.device.policy.Load(); p.steer != nil {
		n := r.held
		r.held, r.stall = 0, 0
		r.hand(p, n)
		return false, more
	}
	r.parts[0], r.parts[1] = r.bounce[:r.held], nil
	given, state = r.copyIn(r.held)
	if state == more {
		r.held = 0
	}
	return given, state
}

// copyIn gives the driver the frame in r.parts, n bytes long. The outcome starved says that it is to be tried again.
func (r *receiver) copyIn(n int) (given bool, state outcome) {
	p := r.device.policy.Load()
	backend.Gather(r.header[:], r.parts[:], 0)
	head := r.look(p, r.parts[:], backend.HeaderLen)
	why, ok, clean := p.judge(&r.header, head, n)
	if !ok {
		r.stats.Drops[why].Add(1)
		return false, more
	}
	need := n + r.buffers.header - backend.HeaderLen
	enough, err := r.buffers.fill(need)
	if err != nil {
		return false, failed
	}
	if !enough {
		return false, r.short()
	}
	list := r.buffers.segments()
	if backend.Len(list) < need {
		r.stats.Drops[DropTooLong].Add(1)
		return false, more
	}
	backend.Scatter(list, 0, r.header[:])
	at := r.buffers.header
	skip := backend.HeaderLen
	for _, part := range r.parts {
		at += backend.Scatter(list, at, part[min(skip, len(part)):])
		skip -= min(skip, len(part))
	}
	r.stats.Bounced.Add(1)
	r.give(p, list, head, n, clean)
	return true, more
}

// short decides on a frame for which the driver has not given enough room: starved to wait, more to give it up, which is counted.
func (r *receiver) short() outcome {
	switch {
	case r.buffers.count > 0 && (!r.buffers.merge || r.buffers.full()):
		r.stall = 0
		r.stats.Drops[DropTooLong].Add(1)
		return more
	case r.buffers.count == 0:
		// The driver has taken everything it was given; it will give again.
		r.stall = 0
		return starved
	case r.stall == 0:
		r.stall = now() + stallTime
		return starved
	case now() < r.stall:
		return starved
	}
	r.stall = 0
	r.stats.Drops[DropNoBuffers].Add(1)
	return more
}
