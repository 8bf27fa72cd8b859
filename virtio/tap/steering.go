package tap

import (
	"errors"
	"fmt"

	"doorbell/virtio/backend"

	"golang.org/x/sys/unix"
)

// SetSteering implements backend.Backend: it loads an eBPF program that computes what s.Queue computes, with the tables of s in a
// map, and gives it to the interface (TUNSETSTEERINGEBPF). The kernel takes the remainder by the number of active queue pairs.
func (t *Tap) SetSteering(s *backend.Steering) error {
	t.change.Lock()
	defer t.change.Unlock()
	if t.closed || t.gone.Load() {
		return t.fail("TUNSETSTEERINGEBPF", unix.EBADFD)
	}
	if s == nil {
		if !t.steered {
			return nil
		}
		if err := t.attachSteering(-1); err != nil {
			return t.fail("TUNSETSTEERINGEBPF", err)
		}
		t.steered = false
		return nil
	}
	program, err := loadSteering(s)
	if err != nil {
		if errors.Is(err, unix.EPERM) {
			err = errCapability // the library's own words guess at another cause
		}
		return t.cannotSteer("load an eBPF program", err)
	}
	defer program.Close() // the interface has its own reference
	if err := t.attachSteering(program.FD()); err != nil {
		if t.vanished() {
			return t.lost()
		}
		return t.cannotSteer("TUNSETSTEERINGEBPF", err)
	}
	t.steered = true
	return nil
}

// errCapability is for kernels from 5.8 on; older ones want CAP_SYS_ADMIN.
var errCapability = fmt.Errorf("%w; it needs CAP_BPF", unix.EPERM)

func (t *Tap) cannotSteer(op string, err error) error {
	return &Error{t.name, fmt.Sprintf("%v: %s: %v", backend.ErrSteering, op, err), fmt.Errorf("%w: %w", backend.ErrSteering, err)}
}

// attachSteering gives the interface a program's descriptor, or with -1 its own choice back.
func (t *Tap) attachSteering(fd int) error {
	return unix.IoctlSetPointerInt(t.queues[0].fd, unix.TUNSETSTEERINGEBPF, fd)
}
