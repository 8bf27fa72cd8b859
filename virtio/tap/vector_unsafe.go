package tap

import (
	"runtime"
	"unsafe"

	"doorbell/virtio/backend"

	"golang.org/x/sys/unix"
)

// maxVector is IOV_MAX.
const maxVector = 1024

// slack is room behind the caller's, so that a frame that does not fit shows, and a virtio header always does.
const slack = 2 * backend.HeaderLen

// vector is the array of struct iovec for one direction of a queue, kept so that no call allocates one.
type vector struct {
	iov   [maxVector]unix.Iovec
	spare [slack]byte
}

// fill describes the slices that are not empty, at most limit of them, and returns how many they are, their length, and whether they
// are all.
func (v *vector) fill(bufs [][]byte, limit int) (count, size int, all bool) {
	for _, b := range bufs {
		if len(b) == 0 {
			continue
		}
		if count == limit {
			return count, size, false
		}
		v.iov[count].Base = &b[0]
		v.iov[count].SetLen(len(b))
		count++
		size += len(b)
	}
	return count, size, true
}

// call makes readv(2) or writev(2). The slices may be Go memory: they are borrowed, and Base keeps them in place for the collector.
func (v *vector) call(number uintptr, fd, count int) (int, unix.Errno) {
	for {
		n, _, errno := unix.Syscall(number, uintptr(fd), uintptr(unsafe.Pointer(&v.iov[0])), uintptr(count))
		if errno != unix.EINTR {
			clear(v.iov[:count]) // keeps nothing of what was borrowed
			return int(n), errno
		}
	}
}

// readv reads a frame. It was cut if n is more than room.
func (v *vector) readv(fd int, bufs [][]byte) (n, room int, errno unix.Errno) {
	count, room, _ := v.fill(bufs, maxVector-1)
	v.iov[count].Base = &v.spare[0]
	v.iov[count].SetLen(slack)
	n, errno = v.call(unix.SYS_READV, fd, count+1)
	runtime.KeepAlive(bufs)
	return n, room, errno
}

// writev writes a frame, or answers EINVAL for one that no interface takes.
func (v *vector) writev(fd int, frame [][]byte) (n int, errno unix.Errno) {
	count, size, all := v.fill(frame, maxVector)
	if !all || size < backend.HeaderLen+backend.EthernetLen || size > backend.MaxFrame {
		clear(v.iov[:count])
		return 0, unix.EINVAL
	}
	n, errno = v.call(unix.SYS_WRITEV, fd, count)
	runtime.KeepAlive(frame)
	return n, errno
}
