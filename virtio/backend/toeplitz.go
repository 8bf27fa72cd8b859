package backend

import "encoding/binary"

// KeyLen is the length of the Toeplitz key (rss_max_key_size), enough for two IPv6 addresses and two ports.
const KeyLen = 40

// MaxHashInput is the longest input: two IPv6 addresses and two ports.
const MaxHashInput = 36

// Toeplitz is the hash of receive-side scaling. A bit of the input that is set adds (exclusive or) the 32 bits of the key that
// start at the bit's own position; the table holds that for all values of each byte, so that a sum is one look-up per byte.
type Toeplitz struct {
	table [MaxHashInput][256]uint32
}

// SetKey fills the table.
func (t *Toeplitz) SetKey(key *[KeyLen]byte) {
	for i := range t.table {
		window := uint64(binary.BigEndian.Uint32(key[i:]))<<8 | uint64(key[i+4]) // 40 bits of the key from byte i on
		for v := range 256 {
			var sum uint32
			for bit := range 8 {
				if v&(0x80>>bit) != 0 {
					sum ^= uint32(window >> (8 - bit))
				}
			}
			t.table[i][v] = sum
		}
	}
}

// Sum is the hash of at most MaxHashInput bytes.
func (t *Toeplitz) Sum(in []byte) (sum uint32) {
	for i, v := range in {
		sum ^= t.table[i][v]
	}
	return sum
}

// Row is the table of the input's byte i, for programs that do the look-up elsewhere.
func (t *Toeplitz) Row(i int) *[256]uint32 { return &t.table[i] }
