package mailbox

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
)

// ring is one direction as one side sees it: the data, this side's own index,
// which is only ever stored to shared memory, and the peer's, which is only ever
// loaded from it and checked.
type ring struct {
	name string // for errors
	data []byte

	mine  *atomic.Uint64
	peers *atomic.Uint64
	// pos is the value last stored to mine, seen the one last loaded from peers.
	pos, seen uint64
}

func (r *ring) size() uint64 { return uint64(len(r.data)) }

// used returns the number of bytes in the ring as its reader sees it. The
// writer's tail may not fall behind what it was and not pass a full ring.
func (r *ring) used() (uint64, error) {
	tail := r.peers.Load()
	n := tail - r.pos
	if n > r.size() || n < r.seen-r.pos {
		return 0, fmt.Errorf("%s: tail 0x%x is not between 0x%x and 0x%x", r.name, tail, r.seen, r.pos+r.size())
	}
	r.seen = tail
	return n, nil
}

// room returns the number of free bytes as the ring's writer sees it. The
// reader's head may not fall behind what it was and not pass the tail.
func (r *ring) room() (uint64, error) {
	head := r.peers.Load()
	n := r.pos - head
	if n > r.pos-r.seen {
		return 0, fmt.Errorf("%s: head 0x%x is not between 0x%x and 0x%x", r.name, head, r.seen, r.pos)
	}
	r.seen = head
	return r.size() - n, nil
}

// maxSend is the largest payload that is sent in one frame: half a ring, so
// that the next frame can be written while this one is read.
func (r *ring) maxSend() int { return min(MaxFrame, len(r.data)/2-headerSize) }

// put writes a frame for which there is room, and publishes it.
func (r *ring) put(header uint32, payload []byte) {
	var h [headerSize]byte
	binary.LittleEndian.PutUint32(h[0:], uint32(len(payload)))
	binary.LittleEndian.PutUint32(h[4:], header)
	r.copyIn(r.pos, h[:])
	r.copyIn(r.pos+headerSize, payload)
	r.pos += headerSize + uint64(len(payload))
	r.mine.Store(r.pos)
}

// header returns the header of the next frame, and its length checked against
// the bytes that are in the ring.
func (r *ring) header(used uint64) (length int, header uint32, err error) {
	if used < headerSize {
		return 0, 0, fmt.Errorf("%s: %d bytes at 0x%x cannot be a frame", r.name, used, r.pos)
	}
	var h [headerSize]byte
	r.copyOut(h[:], r.pos)
	n := binary.LittleEndian.Uint32(h[0:])
	if n > MaxFrame || uint64(n) > used-headerSize {
		return 0, 0, fmt.Errorf("%s: frame at 0x%x has a payload of %d bytes: %d are there and %d allowed",
			r.name, r.pos, n, used-headerSize, MaxFrame)
	}
	return int(n), binary.LittleEndian.Uint32(h[4:]), nil
}

// take copies the payload of the next frame out and gives its place back.
func (r *ring) take(payload []byte) {
	r.copyOut(payload, r.pos+headerSize)
	r.pos += headerSize + uint64(len(payload))
	r.mine.Store(r.pos)
}

func (r *ring) copyIn(at uint64, b []byte) {
	n := copy(r.data[at%r.size():], b)
	copy(r.data, b[n:])
}

func (r *ring) copyOut(b []byte, at uint64) {
	n := copy(b, r.data[at%r.size():])
	copy(b[n:], r.data)
}
