package virtio

import "sync/atomic"

// The rings' indices are 16 bits wide and the language's atomics are 32. Guest and device are both little-endian, so that two
// neighbouring 16-bit fields are the low and the high half of one aligned word:
//
//   - To load one, load its word: a neighbour that changes meanwhile does no harm.
//   - Where the device owns both halves ({flags, idx} of the used ring, {id, flags} of a packed descriptor, the packed device event
//     area) one 32-bit store publishes both.
//   - avail_event is the exception: the two bytes behind it are outside the ring and somebody else's. half.store is for it.
//
// Go's atomics are sequentially consistent; on amd64 a load is a plain MOV and a store an XCHG, which is the full barrier
// that the notification protocols want between publishing an index and reading the peer's wish (section 2.7.10).

// half is one 16-bit field of guest memory.
type half struct {
	word  *atomic.Uint32
	shift uint8 // 0 or 16
}

// halfAt is the field at an even offset of b, which starts at a multiple of 4 and covers whole words.
func halfAt(b []byte, off int) half {
	return half{word(b, off&^3), uint8(off & 2 * 8)}
}

func (h half) load() uint16 { return uint16(h.word.Load() >> h.shift) }

// store stores 16 bits without touching the other 16: it clears the field and then sets it, with two locked instructions that each
// leave the neighbour alone and never need to be repeated, unlike a compare-and-swap against a guest that keeps writing there.
//
// A driver may see the zero in between. For avail_event that is harmless: at worst it kicks needlessly, or it does not kick because
// of the zero. In the latter case its index was published before it read avail_event, hence before the second instruction here;
// the device looks at the index after store, which is a full barrier, and finds the buffer.
func (h half) store(v uint16) {
	h.word.And(^(uint32(0xffff) << h.shift))
	h.word.Or(uint32(v) << h.shift)
}
