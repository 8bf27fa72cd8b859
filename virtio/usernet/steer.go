package usernet

import (
	"encoding/binary"
	"sync/atomic"

	"doorbell/virtio/backend"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// The table has as many entries as Linux's tun has chains. Flows whose hashes meet in a set have an entry each, up to flowWays of them.
const (
	flowSets = 256
	flowWays = 4
)

// flowTable remembers on which queue each flow was last transmitted (virtio 1.2, 5.1.6.5.5). An entry is the flow's hash, in the upper half, and the queue's
// number and one; 0 is none. Every transmit queue writes, without a lock: where two write at once one of them is remembered with the next frame.
type flowTable [flowSets][flowWays]atomic.Uint64

// set is where a flow's entry is.
func (t *flowTable) set(hash uint32) *[flowWays]atomic.Uint64 { return &t[hash>>24%flowSets] }

// queue is the one of a frame to the guest: 0 for a flow that is not known.
func (t *flowTable) queue(frame []byte) uint32 {
	hash := flowHash(frame)
	set := t.set(hash)
	for i := range set {
		if e := set[i].Load(); uint32(e>>32) == hash && uint32(e) != 0 {
			return uint32(e) - 1
		}
	}
	return 0
}

// remember notes the queue that a frame from the guest came by. A set that is full loses one of its flows.
func (t *flowTable) remember(frame []byte, queue uint32) {
	hash := flowHash(frame)
	set := t.set(hash)
	entry := uint64(hash)<<32 | uint64(queue+1)
	at := int(hash % flowWays)
	for i := range set {
		e := set[i].Load()
		if e == entry {
			return
		}
		if e == 0 || uint32(e>>32) == hash {
			at = i
			break
		}
	}
	set[at].Store(entry)
}

// flowHash is the same for both directions of a flow, and another one for each pair of ports of one pair of addresses.
func flowHash(frame []byte) uint32 {
	if len(frame) < backend.EthernetLen+header.IPv4MinimumSize {
		return 0
	}
	ip := frame[backend.EthernetLen:]
	h := binary.LittleEndian.Uint32(ip[12:]) ^ binary.LittleEndian.Uint32(ip[16:]) ^ uint32(ip[9])<<8
	ihl := int(ip[0]&15) * 4
	if fragment := binary.BigEndian.Uint16(ip[6:])&0x3fff != 0; !fragment && len(ip) >= ihl+4 {
		from, to := uint32(binary.BigEndian.Uint16(ip[ihl:])), uint32(binary.BigEndian.Uint16(ip[ihl+2:]))
		h ^= max(from, to)<<16 | min(from, to)
	}
	return h * 0x9e3779b1
}
