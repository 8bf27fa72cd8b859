package bootparam

import "encoding/binary"

// setupRNGSeed is SETUP_RNG_SEED: random bytes for the kernel's entropy pool.
// Kernels before 6.2 ignore it.
const setupRNGSeed = 9

const setupDataHeader = 16 // u64 next, u32 type, u32 len

// RNGSeed builds the one struct setup_data of a list, holding seed.
func RNGSeed(seed []byte) []byte {
	b := make([]byte, setupDataHeader, setupDataHeader+len(seed))
	binary.LittleEndian.PutUint32(b[8:], setupRNGSeed)
	binary.LittleEndian.PutUint32(b[12:], uint32(len(seed)))
	return append(b, seed...)
}
