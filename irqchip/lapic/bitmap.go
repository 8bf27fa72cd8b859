package lapic

import "math/bits"

// bitmap has one bit for each of the 256 vectors: IRR, ISR and TMR (SDM section 11.8.4), and what a descriptor carries.
type bitmap [4]uint64

func (b *bitmap) set(v uint8)           { b[v/64] |= 1 << (v % 64) }
func (b *bitmap) clear(v uint8)         { b[v/64] &^= 1 << (v % 64) }
func (b *bitmap) has(v uint8) bool      { return b[v/64]>>(v%64)&1 != 0 }
func (b *bitmap) register(n int) uint32 { return uint32(b[n/2&3] >> (n % 2 * 32)) }

// put sets or clears bit v.
func (b *bitmap) put(v uint8, on bool) {
	if b.clear(v); on {
		b.set(v)
	}
}

// highest is the vector with the highest priority, or 0 if there is none: vector 0 is illegal and never set.
func (b *bitmap) highest() uint8 {
	for w := len(b) - 1; w >= 0; w-- {
		if b[w] != 0 {
			return uint8(w*64 + bits.Len64(b[w]) - 1)
		}
	}
	return 0
}
