package kvm

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

// ioctlValue makes a request whose argument is a number, or which takes none, and returns the kernel's answer.
// Interrupted calls are repeated: only KVM_RUN may tell its caller of a signal, and it does not come through here.
func ioctlValue(fd int, r request, value uintptr) (int, error) {
	for {
		n, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), r.nr, value)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return 0, errno
		}
		return int(n), nil
	}
}

// ioctlPointer makes a request whose argument points to v. The conversion to uintptr stands in the argument list of the
// system call itself: only there does the compiler keep v in place until the kernel has answered.
func ioctlPointer[T any](fd int, r request, v *T) (int, error) {
	for {
		n, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), r.nr, uintptr(unsafe.Pointer(v)))
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

// hostAddress is the address of b's first byte, for structs that carry addresses. b must be mapped or pinned memory: the
// kernel keeps the address beyond the call.
func hostAddress(b []byte) uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) }
