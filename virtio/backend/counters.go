package backend

import (
	"doorbell/internal/ledger"
)

// Flow counts the frames of one direction: those that passed, with their bytes without the virtio header, of which the one goroutine that uses
// the direction is the writer, and those that were lost. What entered a direction is in one or the other.
type Flow struct {
	Packets, Bytes ledger.Counter
	Drops          Drops
}

// Add counts a frame whose length includes its virtio header.
func (f *Flow) Add(n int) {
	f.Packets.Add(1)
	f.Bytes.Add(uint64(n - HeaderLen))
}

// Counters are the counts of one queue pair.
type Counters struct {
	FromGuest Flow
	_         [64]byte // the directions have different writers
	ToGuest   Flow
}

// Drops are the packets lost in both directions together, as of now: the result does not change.
func (c *Counters) Drops() *Drops {
	d := new(Drops)
	for why := range NumDrops {
		d[why].Add(c.FromGuest.Drops.Load(why) + c.ToGuest.Drops.Load(why))
	}
	return d
}

// Drop is why a packet was lost.
type Drop uint8

// The reasons.
const (
	DropMalformed   Drop = iota // the frame or its virtio header contradicts itself
	DropOffload                 // an offload that was not offered, or not accepted
	DropChecksum                // a checksum is wrong
	DropProtocol                // a protocol that the backend does not carry
	DropTooLong                 // the frame is longer than the buffers for it
	DropQueueFull               // too much waits already
	DropUnreachable             // an address that the backend does not serve, or at which nobody answers the host
	DropLimit                   // too many connections or flows
	DropRefused                 // the host permits no such packet
	DropHost                    // the host's kernel did not take it
	DropClosed                  // the backend is closed, or what it stands on is gone
	NumDrops
)

var dropNames = [NumDrops]string{"malformed", "offload", "checksum", "protocol", "too_long", "queue_full", "unreachable", "limit", "refused", "host", "closed"}

// String is the reason as reports name it.
func (d Drop) String() string {
	if d < NumDrops {
		return dropNames[d]
	}
	return "unknown"
}

// Drops counts lost packets by reason; anyone may add.
type Drops [NumDrops]ledger.Shared

// Add counts one packet.
func (d *Drops) Add(why Drop) { d[why].Add(1) }

// Load is the number of packets lost for this reason.
func (d *Drops) Load(why Drop) uint64 { return d[why].Load() }

// Total is the number of packets lost.
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
