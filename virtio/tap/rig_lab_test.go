//go:build lab

package tap

import (
	"encoding/binary"
	"errors"
	"testing"

	"doorbell/virtio/backend"

	"golang.org/x/sys/unix"
)

// rig is a tap with both of its ends: the queues, and a packet socket that sends any frame to the guest.
type rig struct {
	testing.TB
	*Tap
	index  int32
	socket int
	serial uint64
	bufs   [][]byte
	poll   []unix.PollFd
}

// newRig makes the interface tap0 with several queues, all active, and waits until frames pass: the kernel activates an
// interface some time after its carrier appears, and loses what is sent before.
func newRig(t testing.TB, queues int) *rig {
	t.Helper()
	l := newTap(t, "tap0", unix.IFF_MULTI_QUEUE)
	r := &rig{TB: t, Tap: open(t, "tap0", queues), index: l.index, bufs: [][]byte{make([]byte, backend.MaxFrame)}}
	var err error
	r.socket, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0) // 0: it only sends
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(r.socket) })
	if err := r.SetActive(queues); err != nil {
		t.Fatal(err)
	}
	r.warmUp()
	return r
}

// warmUp sends until a frame comes, and takes all that were sent.
func (r *rig) warmUp() {
	r.Helper()
	for first := r.serial + 1; ; {
		r.inject(r.index, r.sign(udpFrame(9, nil, false)))
		for _, frame, _ := r.take(10); frame != nil; _, frame, _ = r.take(10) {
			if serialOf(frame) < first {
				continue
			}
			// They are all of one flow and so in order.
			r.inject(r.index, r.sign(udpFrame(9, nil, false)))
			r.next()
			return
		}
	}
}

// sign puts a number at the end of a frame, by which next knows it.
func (r *rig) sign(frame []byte) []byte {
	r.serial++
	return binary.BigEndian.AppendUint64(frame, r.serial)
}

func serialOf(frame []byte) uint64 {
	if len(frame) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(frame[len(frame)-8:])
}

// inject sends a frame as the host's network stack would.
func (r *rig) inject(index int32, frame []byte) {
	r.Helper()
	to := &unix.SockaddrLinklayer{Ifindex: int(index), Halen: 6}
	if len(frame) >= backend.EthernetLen {
		to.Protocol = binary.NativeEndian.Uint16(frame[12:]) // in network order, as it is there
	}
	for {
		err := unix.Sendto(r.socket, frame, 0, to)
		switch {
		case err == nil || errors.Is(err, unix.ENOBUFS): // ENOBUFS: not active yet, or full
			return
		case !errors.Is(err, unix.EINTR):
			r.Fatalf("send a frame of %d bytes: %v", len(frame), err)
		}
	}
}

// take takes a frame from any queue; none has come in the given time if it returns nil. The frame is valid until the next call.
func (r *rig) take(milliseconds int) (queue int, frame []byte, h backend.Header) {
	r.Helper()
	for waited := false; ; {
		for i := range r.Queues() {
			if n := r.Queue(i).Receive(r.bufs); n > 0 {
				b := r.bufs[0][:n]
				h.Get((*[backend.HeaderLen]byte)(b))
				return i, b[backend.HeaderLen:], h
			}
		}
		if waited {
			return 0, nil, h
		}
		r.poll = r.poll[:0]
		for i := range r.Queues() {
			r.poll = append(r.poll, unix.PollFd{Fd: int32(r.Queue(i).FD()), Events: unix.POLLIN})
		}
		n, err := unix.Poll(r.poll, milliseconds)
		if err != nil && !errors.Is(err, unix.EINTR) {
			r.Fatal(err)
		}
		waited = n == 0
	}
}

// patience is how long a frame may take that must come, before the test fails.
const patience = 60_000

// next waits for the frame that was signed last.
func (r *rig) next() (queue int, frame []byte, h backend.Header) {
	r.Helper()
	for {
		queue, frame, h = r.take(patience)
		switch {
		case frame == nil:
			r.Fatalf("frame %d did not come; drops %v, behind the queues %v", r.serial, r.Queue(0).Counters().Drops().ByReason(), r.Drops().ByReason())
		case serialOf(frame) == r.serial:
			return queue, frame, h
		}
	}
}

// broadcast, then the guest's address, as an Ethernet header begins.
var ethernet = []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9}

var hostIP, guestIP, broadcastIP = []byte{10, 9, 0, 1}, []byte{10, 9, 0, 2}, []byte{10, 9, 0, 255}

func sum(s uint32, b []byte) uint32 {
	for i, v := range b {
		if i%2 == 0 {
			s += uint32(v) << 8
		} else {
			s += uint32(v)
		}
		s = s>>16 + s&0xffff
	}
	return s
}

// udpFrame is a datagram from the guest to the host, with a complete checksum or with the pseudo header's only.
func udpFrame(port int, payload []byte, partial bool) []byte {
	f := append(append([]byte(nil), ethernet...), 8, 0)
	f = append(f, 0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, unix.IPPROTO_UDP, 0, 0)
	f = append(append(f, guestIP...), hostIP...)
	binary.BigEndian.PutUint16(f[16:], uint16(28+len(payload)))
	binary.BigEndian.PutUint16(f[24:], ^uint16(sum(0, f[14:34])))
	f = binary.BigEndian.AppendUint16(f, 7000)
	f = binary.BigEndian.AppendUint16(f, uint16(port))
	f = binary.BigEndian.AppendUint16(f, uint16(8+len(payload)))
	f = append(append(f, 0, 0), payload...)
	check := sum(uint32(unix.IPPROTO_UDP+8+len(payload)), f[26:34])
	if !partial {
		check = ^sum(check, f[34:])
	}
	binary.BigEndian.PutUint16(f[40:], uint16(check))
	return f
}

// withHeader is a frame for Transmit, in awkward pieces.
func withHeader(h backend.Header, frame []byte) [][]byte {
	var raw [backend.HeaderLen]byte
	h.Put(&raw)
	return [][]byte{raw[:5], raw[5:], frame[:20], nil, frame[20:]}
}
