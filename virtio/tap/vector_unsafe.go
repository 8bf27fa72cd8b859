package tap

import (
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxVector is IOV_MAX.
const maxVector = 1024

// vector is the array of struct iovec for one direction of a queue, kept so that no call allocates one.
type vector struct {
	iov [maxVector]unix.Iovec
}

// fill describes the slices that are not empty and returns how many there are, or -1 if they are too many.
func (v *vector) fill(bufs [][]byte) int {
	n := 0
	for _, b := range bufs {
		if len(b) == 0 {
			continue
		}
		if n == maxVector {
			return -1
		}
		v.iov[n].Base = &b[0]
		v.iov[n].SetLen(len(b))
		n++
	}
	return n
}

// transfer makes readv(2) or writev(2). The slices may be Go memory: they are borrowed, and Base keeps them in place for the collector.
func (v *vector) transfer(call uintptr, fd int, bufs [][]byte) (int, syscall.Errno) {
	count := v.fill(bufs)
	if count <= 0 {
		return 0, unix.EINVAL
	}
	for {
		n, _, errno := unix.Syscall(call, uintptr(fd), uintptr(unsafe.Pointer(&v.iov[0])), uintptr(count))
		if errno == unix.EINTR {
			continue
		}
		runtime.KeepAlive(bufs)
		clear(v.iov[:count]) // keeps nothing of what was borrowed
		if errno != 0 {
			return 0, errno
		}
		return int(n), 0
	}
}

func (v *vector) readv(fd int, bufs [][]byte) (int, syscall.Errno) {
	return v.transfer(unix.SYS_READV, fd, bufs)
}

func (v *vector) writev(fd int, bufs [][]byte) (int, syscall.Errno) {
	return v.transfer(unix.SYS_WRITEV, fd, bufs)
}
