package netdev

import "doorbell/virtio/backend"

// nextSteered is next in a device that steers, or did: take one frame from the backend and hand it to the receiver it is for; then give the
// driver the oldest of those that were handed here.
func (r *receiver) nextSteered(p *policy) (given bool, state outcome) {
	took := r.sort()
	given, state = r.giveRelayed(p.relays[r.pair])
	switch {
	case state == idle && took:
		return given, more
	case state == starved && took:
		// The other receivers' frames are not to wait for this one's buffers; and a backend calls only after it had nothing.
		for range batch {
			if !r.sort() {
				return false, starved
			}
		}
		return false, more
	}
	return given, state
}

// sort hands a frame from the backend to a receiver, maybe this one, and says whether there was one.
func (r *receiver) sort() bool {
	if !r.receive() {
		return false
	}
	n := r.held
	r.held = 0
	r.hand(r.device.policy.Load(), n)
	return true
}

// hand hands the frame in the device's own buffer, n bytes long, to the receiver that it is for.
func (r *receiver) hand(p *policy, n int) {
	to := r.pair
	if p.steer != nil {
		to = int(p.steer.Queue(r.bounce[backend.HeaderLen:min(n, backend.HeaderLen+headLen)]))
	}
	switch {
	case to >= p.receive || !p.relays[to][r.pair].put(r.bounce[:n]):
		r.stats.Drops[DropSteering].Add(1)
	case to != r.pair:
		r.device.wakeReceiver(to)
	}
}

// giveRelayed gives the driver one frame of those that were handed to this receiver, from each giver in turn.
func (r *receiver) giveRelayed(mine []*relay) (given bool, state outcome) {
	for i := range mine {
		from := (r.turn + i) % len(mine)
		n := mine[from].peek(&r.parts)
		if n == 0 {
			continue
		}
		r.turn = from
		given, state = r.copyIn(n)
		if state == more {
			mine[from].drop(n)
			r.turn = from + 1
		}
		return given, state
	}
	return false, idle
}
