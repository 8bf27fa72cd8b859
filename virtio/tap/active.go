package tap

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// SetActive implements backend.Backend: it detaches the queues behind the active ones, from the last, and attaches from the first, so
// that the kernel numbers them as here. Frames that wait in a queue are lost when it is detached.
func (t *Tap) SetActive(pairs int) error {
	if pairs < 1 || pairs > len(t.queues) {
		return &Error{t.name, fmt.Sprintf("%d active queue pairs of %d", pairs, len(t.queues)), unix.EINVAL}
	}
	t.change.Lock()
	defer t.change.Unlock()
	if t.closed || t.gone.Load() {
		return t.fail("TUNSETQUEUE", unix.EBADFD)
	}
	for ; t.active > pairs; t.active-- {
		if err := setQueue(t.queues[t.active-1].fd, unix.IFF_DETACH_QUEUE); err != nil {
			return t.fail("TUNSETQUEUE detach", err)
		}
	}
	for ; t.active < pairs; t.active++ {
		if err := setQueue(t.queues[t.active].fd, unix.IFF_ATTACH_QUEUE); err != nil {
			return t.fail("TUNSETQUEUE attach", err)
		}
	}
	return nil
}

func setQueue(fd int, flag uint16) error {
	r, err := unix.NewIfreq("tap") // the name does not matter; the descriptor knows its interface
	if err != nil {
		return err
	}
	r.SetUint16(flag)
	return unix.IoctlIfreq(fd, unix.TUNSETQUEUE, r)
}
