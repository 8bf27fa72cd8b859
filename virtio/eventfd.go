package virtio

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// eventFD is the doorbell of a queue: the guest's kicks reach it through the kernel, or through the transport where the kernel does not
// take them. Signal may be called by any thread, take by one at a time.
type eventFD struct {
	fd    int
	count [8]byte
}

// one is what an eventfd is signalled with: a 64-bit 1 in the host's order.
var one = binary.NativeEndian.AppendUint64(nil, 1)

func newEventFD() (*eventFD, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	return &eventFD{fd: fd}, nil
}

// signal can only fail with EAGAIN, when 2^64-2 signals wait to be taken.
func (e *eventFD) signal() { _, _ = unix.Write(e.fd, one) }

// take returns how often it was signalled since it was last taken.
func (e *eventFD) take() uint64 {
	if n, err := unix.Read(e.fd, e.count[:]); err != nil || n != len(e.count) {
		return 0
	}
	return binary.NativeEndian.Uint64(e.count[:])
}

func (e *eventFD) close() error { return unix.Close(e.fd) }
