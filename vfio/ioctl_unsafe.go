package vfio

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// request is an ioctl number with its name.
type request struct {
	nr   uintptr
	name string
}

// ioctlValue makes a request whose argument is a number, and returns the kernel's answer.
func ioctlValue(fd int, r request, value uintptr) (int, error) {
	for {
		n, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), r.nr, value)
		if errno == 0 {
			return int(n), nil
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
}

// ioctlPointer makes a request whose argument points to v, which the conversion in the argument list keeps in place.
func ioctlPointer[T any](fd int, r request, v *T) (int, error) {
	for {
		n, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), r.nr, uintptr(unsafe.Pointer(v)))
		runtime.KeepAlive(v)
		if errno == 0 {
			return int(n), nil
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
}

// sizeOf is what a struct's argsz has to say.
func sizeOf[T any](T) uint32 {
	var v T
	return uint32(unsafe.Sizeof(v))
}

// hostAddress is the address of b's first byte, which must be mapped memory: the kernel keeps it beyond the call.
func hostAddress(b []byte) uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) }
