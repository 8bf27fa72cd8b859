package measure

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// movePages moves the pages of from to the address of to, which is as long, in place of what is mapped there. Both are mapped memory, not the Go heap.
func movePages(to, from []byte, flags int) error {
	_, err := unix.MremapPtr(unsafe.Pointer(unsafe.SliceData(from)), uintptr(len(from)),
		unsafe.Pointer(unsafe.SliceData(to)), uintptr(len(to)), unix.MREMAP_MAYMOVE|unix.MREMAP_FIXED|flags)
	return err
}

// mapFresh maps memory without pages at the address of at, in place of what is mapped there.
func mapFresh(at []byte) error {
	_, err := unix.MmapPtr(-1, 0, unsafe.Pointer(unsafe.SliceData(at)), uintptr(len(at)), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_FIXED)
	return err
}
