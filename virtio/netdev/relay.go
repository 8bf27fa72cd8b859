package netdev

import (
	"encoding/binary"
	"sync/atomic"
)

// relay is a ring of bytes in which one receiver hands frames to another: one goroutine puts, one gets. A record is a length of four
// bytes and a frame, padded to relayAlign, so that the length never wraps.
type relay struct {
	data    []byte // a power of two
	_       [64]byte
	written atomic.Uint64 // bytes ever written; the putting side's
	_       [64]byte
	got     atomic.Uint64 // bytes ever read; the getting side's
}

const (
	// relayBytes holds three of the longest frames, or 160 of Ethernet's.
	relayBytes = 1 << 18
	relayAlign = 8
)

func newRelay(size int) *relay { return &relay{data: make([]byte, size)} }

func recordLen(n int) int { return (4 + n + relayAlign - 1) &^ (relayAlign - 1) }

// put copies a frame into the ring, or says that it has no room.
func (r *relay) put(frame []byte) bool {
	at := r.written.Load()
	size := recordLen(len(frame))
	if int(at-r.got.Load())+size > len(r.data) {
		return false
	}
	i := int(at) & (len(r.data) - 1)
	binary.LittleEndian.PutUint32(r.data[i:], uint32(len(frame)))
	i = (i + 4) & (len(r.data) - 1)
	n := copy(r.data[i:], frame)
	copy(r.data, frame[n:])
	r.written.Store(at + uint64(size))
	return true
}

// peek is the oldest frame, in two parts; n is 0 if there is none.
func (r *relay) peek(parts *[2][]byte) (n int) {
	at := r.got.Load()
	if at == r.written.Load() {
		return 0
	}
	i := int(at) & (len(r.data) - 1)
	n = int(binary.LittleEndian.Uint32(r.data[i:]))
	i = (i + 4) & (len(r.data) - 1)
	end := min(i+n, len(r.data))
	parts[0], parts[1] = r.data[i:end], r.data[:n-(end-i)]
	return n
}

// drop removes the oldest frame, whose length is n.
func (r *relay) drop(n int) { r.got.Store(r.got.Load() + uint64(recordLen(n))) }

// relays are the rings of a device that steers: at [to][from].
type relays [][]*relay

// maxSteered is with how many pairs a device steers itself: the rings are as many as their square, 64 MiB then.
const maxSteered = 16

func newRelays(pairs int) relays {
	all := make(relays, pairs)
	for to := range all {
		for range pairs {
			all[to] = append(all[to], newRelay(relayBytes))
		}
	}
	return all
}
