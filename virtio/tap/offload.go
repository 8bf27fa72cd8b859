package tap

import (
	"fmt"

	"doorbell/virtio/backend"

	"golang.org/x/sys/unix"
)

// Offloads implements backend.Backend.
func (t *Tap) Offloads() (fromGuest, toGuest backend.Offloads) {
	o := backend.Checksum | backend.TSO4 | backend.TSO6 | backend.ECN
	if t.uso {
		o |= backend.USO
	}
	return o, o
}

// offloadBits are the arguments of TUNSETOFFLOAD.
var offloadBits = []struct {
	offload backend.Offloads
	bits    int
}{
	{backend.Checksum, unix.TUN_F_CSUM}, {backend.TSO4, unix.TUN_F_TSO4}, {backend.TSO6, unix.TUN_F_TSO6},
	{backend.ECN, unix.TUN_F_TSO_ECN}, {backend.USO, unix.TUN_F_USO4 | unix.TUN_F_USO6},
}

// setOffload sets the interface's offloads; they hold for all queues.
func (t *Tap) setOffload(o backend.Offloads) error {
	bits := 0
	for _, b := range offloadBits {
		if o&b.offload != 0 {
			bits |= b.bits
		}
	}
	return unix.IoctlSetInt(t.queues[0].fd, unix.TUNSETOFFLOAD, bits)
}

// SetOffloads implements backend.Backend. Frames that the kernel has queued already keep the form that they have; Receive drops those
// that do not fit any more.
func (t *Tap) SetOffloads(toGuest backend.Offloads) error {
	if _, offered := t.Offloads(); toGuest&^offered != 0 {
		return &Error{t.name, fmt.Sprintf("the offload %v to the guest is not offered", toGuest&^offered), unix.EINVAL}
	}
	toGuest = toGuest.Consistent()
	t.change.Lock()
	defer t.change.Unlock()
	if t.closed || t.gone.Load() {
		return t.fail("TUNSETOFFLOAD", unix.EBADFD)
	}
	was := t.accepted.Load()
	t.accepted.Store(was | uint32(toGuest)) // none is lost that comes in the new form at once
	if err := t.setOffload(toGuest); err != nil {
		t.accepted.Store(was)
		return t.fail("TUNSETOFFLOAD", err)
	}
	t.accepted.Store(uint32(toGuest))
	return nil
}

// needs is the set of offloads that a header asks of the receiver.
func needs(flags, gsoType byte) (o backend.Offloads) {
	if flags&backend.FlagNeedsCsum != 0 {
		o = backend.Checksum
	}
	if gsoType&backend.GSOECN != 0 {
		o |= backend.ECN
	}
	switch gsoType &^ backend.GSOECN {
	case backend.GSONone:
	case backend.GSOTCPv4:
		o |= backend.TSO4
	case backend.GSOTCPv6:
		o |= backend.TSO6
	case backend.GSOUDPL4:
		o |= backend.USO
	default:
		o |= unknownOffload
	}
	return o
}

// unknownOffload is in no set that is offered or accepted.
const unknownOffload backend.Offloads = 1 << 31
