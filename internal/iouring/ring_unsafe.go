package iouring

import (
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// setup is io_uring_setup(2); it returns the ring's descriptor.
func setup(entries uint32, p *params) (int, error) {
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, uintptr(entries), uintptr(unsafe.Pointer(p)), 0)
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

// enter is io_uring_enter(2) without a wait for completions, so that it is not interrupted by signals either.
func enter(fd int, submit uint32) (int, error) {
	n, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(fd), uintptr(submit), 0, 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// registerFD is io_uring_register(2) with an array of one descriptor.
func registerFD(ring int, opcode uintptr, fd int32) error {
	_, _, errno := unix.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(ring), opcode, uintptr(unsafe.Pointer(&fd)), 1, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// word is an index in the mapped queues; off is the kernel's, and aligned. The memory must stay mapped as long as the result is used.
func word(mapped []byte, off uint32) *atomic.Uint32 {
	return (*atomic.Uint32)(unsafe.Pointer(&mapped[off : off+4][0]))
}

// array is n entries of a mapped queue, of which T is the kernel's struct, for as long as the memory stays mapped.
func array[T sqe | CQE](mapped []byte, off, n uint32) []T {
	var one T
	b := mapped[off : off+n*uint32(unsafe.Sizeof(one))]
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), n)
}
