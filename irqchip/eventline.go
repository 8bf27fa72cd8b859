package irqchip

import (
	"encoding/binary"
	"fmt"

	"doorbell/internal/ledger"

	"golang.org/x/sys/unix"
)

// eventLine is an edge-triggered line to KVM's own controllers: an eventfd that an irqfd turns into a pulse of its GSI.
type eventLine struct {
	gsi     uint32
	eventfd int
	count   *ledger.Line
	remove  func() error
}

// one is what an eventfd is signalled with: a 64-bit 1 in the host's order.
var one = binary.NativeEndian.AppendUint64(nil, 1)

// Raise implements Line: one write(2), without a lock or an allocation.
func (l *eventLine) Raise() {
	l.count.Raise()
	// It can only fail with EAGAIN, when 2^64-2 pulses wait to be taken.
	_, _ = unix.Write(l.eventfd, one)
}

// Close implements Line.
func (l *eventLine) Close() error {
	err := l.remove()
	if e := unix.Close(l.eventfd); err == nil {
		err = e
	}
	return err
}

func newEventFD() (int, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return -1, fmt.Errorf("eventfd: %w", err)
	}
	return fd, nil
}
