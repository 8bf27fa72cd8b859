package tap

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"

	"doorbell/virtio/backend"

	"golang.org/x/sys/unix"
)

// Tap is a tap interface.
type Tap struct {
	name   string
	index  int32
	queues []*queue
	uso    bool // the kernel knows TUN_F_USO4 and TUN_F_USO6: Linux 6.2
	links  *links
	idle   int // a file that is never readable, for the place of a queue whose interface is gone

	accepted atomic.Uint32 // backend.Offloads that a frame to the guest may use
	gone     atomic.Bool   // somebody has deleted the interface

	change  sync.Mutex // orders what changes the interface against itself and Close; guards what follows
	active  int
	steered bool
	closed  bool
	drops   backend.Drops
	counted uint64 // of the interface's tx_dropped, how much is in drops or was there before
}

var _ backend.Backend = (*Tap)(nil)

// Open attaches to an interface that exists. Its errors are *Error, each a line that says what to do.
func Open(c Config) (*Tap, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	ask, err := newLinks()
	if err != nil {
		return nil, failed(c.Name, "look for the interface", err)
	}
	fds, l, err := attach(c, ask)
	if err != nil {
		_ = ask.close()
		return nil, err
	}
	t := &Tap{name: c.Name, index: l.index, active: c.Queues, links: ask, idle: -1, counted: l.dropped}
	for _, fd := range fds {
		t.queues = append(t.queues, &queue{tap: t, fd: fd, gate: backend.NewGate()})
	}
	if err := t.prepare(); err != nil {
		_ = t.Close()
		return nil, err
	}
	return t, nil
}

// prepare brings about the state that backend.Backend starts in. All of it belongs to the interface, which has kept what its last user
// chose.
func (t *Tap) prepare() error {
	idle, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK) // never armed
	if err != nil {
		return t.fail("timerfd_create", err)
	}
	t.idle = idle
	fd := t.queues[0].fd
	// Modern virtio is little-endian; the kernel's default is the host's order.
	for _, set := range []struct {
		op      string
		request uint
		value   int
	}{
		{"TUNSETVNETHDRSZ", unix.TUNSETVNETHDRSZ, backend.HeaderLen}, {"TUNSETVNETLE", unix.TUNSETVNETLE, 1}, {"TUNSETSNDBUF", unix.TUNSETSNDBUF, math.MaxInt32},
	} {
		if err := unix.IoctlSetPointerInt(fd, set.request, set.value); err != nil {
			return t.fail(set.op, err)
		}
	}
	t.uso = t.setOffload(backend.Checksum|backend.USO) == nil
	if err := t.setOffload(0); err != nil {
		return t.fail("TUNSETOFFLOAD", err)
	}
	if err := t.attachSteering(-1); err != nil && !errors.Is(err, unix.EINVAL) { // EINVAL: a kernel that does not steer, before 4.16
		return t.fail("TUNSETSTEERINGEBPF", err)
	}
	return t.SetActive(1)
}

// fail is the error of an operation on the interface.
func (t *Tap) fail(op string, err error) error {
	switch {
	case t.closed:
		return &Error{t.name, op + ": the tap is closed", unix.EBADF}
	case t.vanished():
		return t.lost()
	}
	return failed(t.name, op, err)
}

func (t *Tap) lost() error {
	return &Error{t.name, "the interface was deleted while in use; make it again and restart the machine: " + command(t.name), unix.EBADFD}
}

// vanished finds out whether the interface is gone.
func (t *Tap) vanished() bool {
	if t.gone.Load() {
		return true
	}
	_, err := t.links.numbered(t.index)
	return errors.Is(err, unix.ENODEV)
}

// String implements backend.Backend.
func (t *Tap) String() string { return "tap=" + shown(t.name) }

// Queues implements backend.Backend.
func (t *Tap) Queues() int { return len(t.queues) }

// Queue implements backend.Backend.
func (t *Tap) Queue(i int) backend.Queue { return t.queues[i] }

// look asks for the interface's state. The caller holds change.
func (t *Tap) look() (*link, error) {
	if t.closed {
		return nil, unix.EBADF
	}
	return t.links.numbered(t.index)
}

// MTU implements backend.Backend: the interface's, at this moment.
func (t *Tap) MTU() int {
	t.change.Lock()
	defer t.change.Unlock()
	l, err := t.look()
	if err != nil {
		return 0
	}
	return int(l.mtu)
}

// Warning is a line to show to the user when something about the interface, at this moment, loses frames; empty if nothing does.
func (t *Tap) Warning() string {
	t.change.Lock()
	defer t.change.Unlock()
	switch l, err := t.look(); {
	case t.closed:
		return ""
	case errors.Is(err, unix.ENODEV):
		return t.lost().Error()
	case err != nil:
		return failed(t.name, "look for the interface", err).Error()
	case l.flags&unix.IFF_UP == 0:
		return fmt.Sprintf("tap %s: the interface is down and loses every frame until: ip link set %s up", shown(t.name), shown(t.name))
	}
	return ""
}

// Drops implements backend.Backend: frames to the guest that found no room in the kernel's queues, or no queue, since Open. They come
// from the interface's statistics when this is called.
func (t *Tap) Drops() *backend.Drops {
	t.change.Lock()
	defer t.change.Unlock()
	if l, err := t.look(); err == nil && l.dropped > t.counted {
		t.drops[backend.DropQueueFull].Add(l.dropped - t.counted)
		t.counted = l.dropped
	}
	return &t.drops
}

// Close implements backend.Backend. The interface remains, if it is persistent, and chooses queues by itself again.
func (t *Tap) Close() error {
	t.Drops()
	t.change.Lock()
	defer t.change.Unlock()
	if t.closed {
		return nil
	}
	if t.steered {
		_ = t.attachSteering(-1)
	}
	t.closed = true
	var errs []error
	for _, q := range t.queues {
		errs = append(errs, q.close())
	}
	if t.idle >= 0 {
		errs = append(errs, unix.Close(t.idle))
	}
	return errors.Join(append(errs, t.links.close())...)
}
