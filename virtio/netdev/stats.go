package netdev

import "doorbell/internal/ledger"

// QueueStats is the account of one queue over all its lives; the queue's goroutine is the only writer. Interrupts and kicks are in
// virtio.QueueStats, what the backend drops in backend.Counters.
type QueueStats struct {
	Packets   ledger.Counter // frames: taken from the driver, or given to it
	Bytes     ledger.Counter // of these frames, without virtio headers
	Coalesced ledger.Counter // batches whose interrupt was put off, as the driver asked or by the device's own choice
	Bounced   ledger.Counter // frames that were copied once more, for want of room or because the device steers
	Waits     ledger.Counter // times the goroutine went to wait
	Commands  ledger.Counter // of the control queue
	Refused   ledger.Counter // commands answered with VIRTIO_NET_ERR
	Drops     Drops
}

// Drop is why the device lost a frame.
type Drop uint8

// The reasons.
const (
	DropFilter    Drop = iota // the driver's filters do not want it
	DropNoBuffers             // the driver gave no buffers for too long
	DropTooLong               // it is longer than the MTU or than all of the ring
	DropOffload               // it needs an offload that the driver did not accept
	DropSteering              // the queue it was handed to is full, in a device that steers
	DropLink                  // the link is down
	NumDrops
)

var dropNames = [NumDrops]string{"filter", "no_buffers", "too_long", "offload", "steering", "link_down"}

// String is the reason as reports name it.
func (d Drop) String() string {
	if d < NumDrops {
		return dropNames[d]
	}
	return "unknown"
}

// Drops counts lost frames by reason.
type Drops [NumDrops]ledger.Counter

// Total is the number of frames lost.
func (d *Drops) Total() (n uint64) {
	for i := range d {
		n += d[i].Load()
	}
	return n
}

// ByReason are the reasons that occurred.
func (d *Drops) ByReason() map[string]uint64 {
	m := map[string]uint64{}
	for i := range d {
		if n := d[i].Load(); n > 0 {
			m[Drop(i).String()] = n
		}
	}
	return m
}
