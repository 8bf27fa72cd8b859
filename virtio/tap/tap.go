package tap

import (
	"errors"
	"fmt"
	"sync"

	"doorbell/virtio/backend"

	"golang.org/x/sys/unix"
)

// maxQueues is the kernel's MAX_TAP_QUEUES.
const maxQueues = 256

// Tap is a tap interface.
type Tap struct {
	name   string
	queues []*queue
	multi  bool
	uso    bool // the kernel knows TUN_F_USO4 and TUN_F_USO6: Linux 6.2
	drops  backend.Drops

	change sync.Mutex // orders what changes the interface against itself and Close
	active int
	closed bool
}

var _ backend.Backend = (*Tap)(nil)

// Open attaches to the interface with pairs queues. Its errors are *Error.
func Open(name string, pairs int) (*Tap, error) {
	if pairs < 1 || pairs > maxQueues {
		return nil, fmt.Errorf("tap %s: %d queue pairs; want 1 to %d", name, pairs, maxQueues)
	}
	fds, multi, err := openQueues(name, pairs)
	if err != nil {
		return nil, err
	}
	t := &Tap{name: name, multi: multi, active: pairs}
	for _, fd := range fds {
		t.queues = append(t.queues, &queue{fd: fd, gate: backend.NewGate()})
	}
	if err := t.prepare(); err != nil {
		_ = t.Close()
		return nil, err
	}
	return t, nil
}

// prepare sets the header's length and byte order, and the state that backend.Backend starts in.
func (t *Tap) prepare() error {
	for _, q := range t.queues {
		if err := unix.IoctlSetPointerInt(q.fd, unix.TUNSETVNETHDRSZ, backend.HeaderLen); err != nil {
			return t.fail("TUNSETVNETHDRSZ", err)
		}
		// Modern virtio is little-endian; the kernel's default is the host's order, and not every kernel can be told.
		if err := unix.IoctlSetPointerInt(q.fd, unix.TUNSETVNETLE, 1); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOTTY) {
			return t.fail("TUNSETVNETLE", err)
		}
	}
	t.uso = t.setOffload(offloadBits(backend.Checksum|backend.USO)) == nil
	if err := t.setOffload(0); err != nil {
		return t.fail("TUNSETOFFLOAD", err)
	}
	return t.SetActive(1)
}

func (t *Tap) fail(op string, err error) error { return &Error{Name: t.name, Op: op, Err: err} }

// String implements backend.Backend.
func (t *Tap) String() string { return "tap=" + t.name }

// Queues implements backend.Backend.
func (t *Tap) Queues() int { return len(t.queues) }

// Queue implements backend.Backend.
func (t *Tap) Queue(i int) backend.Queue { return t.queues[i] }

// MTU implements backend.Backend: the interface's, at this moment.
func (t *Tap) MTU() int {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	r, err := unix.NewIfreq(t.name)
	if err != nil || unix.IoctlIfreq(fd, unix.SIOCGIFMTU, r) != nil {
		return 0
	}
	return int(r.Uint32())
}

// Offloads implements backend.Backend.
func (t *Tap) Offloads() (fromGuest, toGuest backend.Offloads) {
	o := backend.Checksum | backend.TSO4 | backend.TSO6 | backend.ECN
	if t.uso {
		o |= backend.USO
	}
	return o, o
}

// offloadBits are the arguments of TUNSETOFFLOAD.
func offloadBits(o backend.Offloads) (bits int) {
	for _, b := range []struct {
		offload backend.Offloads
		bit     int
	}{
		{backend.Checksum, unix.TUN_F_CSUM}, {backend.TSO4, unix.TUN_F_TSO4}, {backend.TSO6, unix.TUN_F_TSO6},
		{backend.ECN, unix.TUN_F_TSO_ECN}, {backend.USO, unix.TUN_F_USO4 | unix.TUN_F_USO6},
	} {
		if o&b.offload != 0 {
			bits |= b.bit
		}
	}
	return bits
}

// setOffload sets the interface's offloads; they hold for all queues.
func (t *Tap) setOffload(bits int) error {
	return unix.IoctlSetInt(t.queues[0].fd, unix.TUNSETOFFLOAD, bits)
}

// SetOffloads implements backend.Backend.
func (t *Tap) SetOffloads(toGuest backend.Offloads) error {
	if _, offered := t.Offloads(); toGuest&^offered != 0 {
		return fmt.Errorf("tap %s: offload %v to the guest is not offered", t.name, toGuest&^offered)
	}
	t.change.Lock()
	defer t.change.Unlock()
	if t.closed {
		return t.fail("TUNSETOFFLOAD", unix.EBADF)
	}
	if err := t.setOffload(offloadBits(toGuest.Consistent())); err != nil {
		return t.fail("TUNSETOFFLOAD", err)
	}
	return nil
}

// SetActive implements backend.Backend: it detaches the queues behind the active ones, from the last, and attaches from the first, so
// that the kernel numbers them as here. A detached queue's descriptor polls as an error and must not be polled.
func (t *Tap) SetActive(pairs int) error {
	if pairs < 1 || pairs > len(t.queues) {
		return fmt.Errorf("tap %s: %d active queue pairs of %d", t.name, pairs, len(t.queues))
	}
	t.change.Lock()
	defer t.change.Unlock()
	if t.closed {
		return t.fail("TUNSETQUEUE", unix.EBADF)
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

// Drops implements backend.Backend. What the kernel drops behind its queues is in the interface's own statistics.
func (t *Tap) Drops() *backend.Drops { return &t.drops }

// Close implements backend.Backend. The interface remains, if it is persistent.
func (t *Tap) Close() error {
	t.change.Lock()
	defer t.change.Unlock()
	if t.closed {
		return nil
	}
	t.closed = true
	var errs []error
	for _, q := range t.queues {
		q.gate.Close()
		errs = append(errs, unix.Close(q.fd))
	}
	return errors.Join(errs...)
}
