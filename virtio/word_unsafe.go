package virtio

import (
	"sync/atomic"
	"unsafe"
)

// word returns the aligned 32-bit word at an offset of guest memory that starts at a multiple of 4. The result keeps heap memory
// alive as any pointer does; mapped memory must stay mapped.
func word(b []byte, off int) *atomic.Uint32 {
	return (*atomic.Uint32)(unsafe.Pointer(&b[off : off+4][0]))
}
