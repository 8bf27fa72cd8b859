package main

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

const probeRunSize = unsafe.Sizeof(probeRun{})

// do has the driver cause the interrupts and wait for them.
func (r *probeRun) do(fd int) error {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), probeRunRequest, uintptr(unsafe.Pointer(r)))
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
			continue
		}
		return errno
	}
}
