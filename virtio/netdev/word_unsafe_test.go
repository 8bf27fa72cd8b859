package netdev

import (
	"sync/atomic"
	"unsafe"
)

// word is the aligned 32-bit word at an offset of guest memory.
func word(b []byte, off int) *atomic.Uint32 {
	return (*atomic.Uint32)(unsafe.Pointer(&b[off : off+4][0]))
}
