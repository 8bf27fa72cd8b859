// Package ioctl makes ioctl(2) soundly: an argument stays in place until the kernel has answered, and a call that a signal interrupts is made again.
package ioctl

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Request is an ioctl's number with the name that errors carry.
type Request struct {
	Number uintptr
	Name   string
}

// Value makes a request whose argument is a number, or which takes none, and returns the kernel's answer.
func Value(fd int, r Request, value uintptr) (int, error) {
	for {
		n, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), r.Number, value)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return 0, errno
		}
		return int(n), nil
	}
}

// Pointer makes a request whose argument points to v. The conversion to uintptr stands in the argument list of the system call itself: only there
// does the compiler keep v in place until the kernel has answered.
func Pointer[T any](fd int, r Request, v *T) (int, error) {
	for {
		n, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), r.Number, uintptr(unsafe.Pointer(v)))
		if errno == unix.EINTR {
			continue
		}
		runtime.KeepAlive(v)
		if errno != 0 {
			return 0, errno
		}
		return int(n), nil
	}
}

// Address is the address of b's first byte, for structs that carry addresses. b must be mapped or pinned memory: the kernel keeps the address beyond
// the call.
func Address(b []byte) uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) }

// Size is a struct's size, for those that say it themselves.
func Size[T any](T) uint32 {
	var v T
	return uint32(unsafe.Sizeof(v))
}
