package mailbox

import (
	"sync/atomic"
	"unsafe"
)

// word returns the 64-bit index at an offset of the shared RAM. The caller has
// checked that the RAM is aligned and that off is inside it; the result keeps heap
// memory alive as any pointer does, and memory that is mapped must stay mapped.
func word(shared []byte, off int) *atomic.Uint64 {
	return (*atomic.Uint64)(unsafe.Pointer(&shared[off : off+8][0]))
}

// aligned says whether shared starts where a 64-bit atomic access may.
func aligned(shared []byte) bool {
	return uintptr(unsafe.Pointer(unsafe.SliceData(shared)))%8 == 0
}
