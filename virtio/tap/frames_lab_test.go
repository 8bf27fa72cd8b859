//go:build lab

package tap

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"testing"
	"time"

	"doorbell/virtio/backend"

	"golang.org/x/sys/unix"
)

// hostSocket is a socket on the host's address of the tap.
func hostSocket(t testing.TB) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: hostIP})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience * time.Millisecond))
	return c
}

func port(c *net.UDPConn) int { return c.LocalAddr().(*net.UDPAddr).Port }

// send sends a signed datagram to the guest, by broadcast, which asks for no neighbour.
func (r *rig) send(c *net.UDPConn, payload []byte) {
	r.Helper()
	r.serial++
	if _, err := c.WriteTo(binary.BigEndian.AppendUint64(payload, r.serial), &net.UDPAddr{IP: broadcastIP, Port: 9}); err != nil {
		r.Fatal(err)
	}
}

// What the guest sends arrives, and the kernel does what the header leaves to it.
func TestTransmit(t *testing.T) {
	r := newRig(t, 1)
	address(t, r.index, hostIP, 24)
	c := hostSocket(t)
	partial := backend.Header{Flags: backend.FlagNeedsCsum, CsumStart: 34, CsumOffset: 6}
	long := bytes.Repeat([]byte("0123456789"), 300)
	segments := partial
	segments.GSOType, segments.GSOSize, segments.HdrLen = backend.GSOUDPL4, 1000, 42
	for _, tc := range []struct {
		name string
		h    backend.Header
		f    []byte
		want []string
	}{
		{"complete", backend.Header{}, udpFrame(port(c), []byte("hello"), false), []string{"hello"}},
		{"partial checksum", partial, udpFrame(port(c), []byte("hello"), true), []string{"hello"}},
		{"segmentation", segments, udpFrame(port(c), long, true), []string{string(long[:1000]), string(long[:1000]), string(long[:1000])}},
	} {
		q := r.Queue(0).Counters()
		passed, dropped := q.FromGuest.Packets.Load(), q.Drops().Load(backend.DropOffload)
		r.Queue(0).Transmit(withHeader(tc.h, tc.f))
		if fromGuest, _ := r.Offloads(); tc.h.GSOType != 0 && fromGuest&backend.USO == 0 {
			// Before Linux 6.2: what is not offered is not taken.
			if q.Drops().Load(backend.DropOffload) != dropped+1 {
				t.Errorf("%s: drops %v", tc.name, q.Drops().ByReason())
			}
			continue
		}
		for i, want := range tc.want {
			buf := make([]byte, 65536)
			n, err := c.Read(buf)
			if err != nil || string(buf[:n]) != want {
				t.Errorf("%s: datagram %d has %d bytes, %v; drops %v", tc.name, i, n, err, q.Drops().ByReason())
			}
		}
		if q.FromGuest.Packets.Load() != passed+1 {
			t.Errorf("%s: %d frames counted", tc.name, q.FromGuest.Packets.Load()-passed)
		}
	}
	if d := r.Queue(0).Counters().FromGuest.Bytes.Load(); d < uint64(2*len(udpFrame(1, []byte("hello"), false))) {
		t.Errorf("%d bytes counted", d)
	}
}

// What the host sends arrives in the form that the driver has accepted, whatever the buffers are.
func TestReceive(t *testing.T) {
	r := newRig(t, 1)
	address(t, r.index, hostIP, 24)
	c := hostSocket(t)
	large := [][]byte{make([]byte, 7), nil, make([]byte, 100), make([]byte, backend.MaxFrame)}
	small := [][]byte{make([]byte, 11), make([]byte, 200)}
	for _, tc := range []struct {
		name     string
		offloads backend.Offloads
		bufs     [][]byte
	}{
		{"complete", 0, large}, {"checksum", backend.Checksum, large}, {"everything", backend.Checksum | backend.TSO4 | backend.TSO6 | backend.ECN, large},
		{"little room", backend.Checksum, small}, {"inconsistent", backend.TSO4, large}, {"complete again", 0, small},
	} {
		if err := r.SetOffloads(tc.offloads); err != nil {
			t.Fatal(err)
		}
		r.bufs = tc.bufs
		r.send(c, []byte("hello guest"))
		f, h := r.nextIn(tc.bufs)
		if !bytes.Contains(f, []byte("hello guest")) || h.NumBuffers != 1 {
			t.Errorf("%s: %+v %q", tc.name, h, f)
		}
		want := tc.offloads&backend.Checksum != 0
		if got := h.Flags&backend.FlagNeedsCsum != 0; got != want || !want && h.Flags != 0 {
			t.Errorf("%s: header %+v", tc.name, h)
		}
		if !want && sum(sum(uint32(unix.IPPROTO_UDP+len(f)-34), f[26:34]), f[34:]) != 0xffff {
			t.Errorf("%s: the checksum is wrong", tc.name)
		}
	}
	if err := r.SetOffloads(1 << 20); err == nil {
		t.Error("an offload that was not offered is accepted")
	}
}

// nextIn is next for buffers in pieces.
func (r *rig) nextIn(bufs [][]byte) (frame []byte, h backend.Header) {
	r.Helper()
	for {
		n := r.Queue(0).Receive(bufs)
		if n == 0 {
			r.wait(0)
			continue
		}
		b := make([]byte, n)
		backend.Gather(b, bufs, 0)
		h.Get((*[backend.HeaderLen]byte)(b))
		if serialOf(b) == r.serial {
			return b[backend.HeaderLen:], h
		}
	}
}

// wait waits until a queue is readable.
func (r *rig) wait(queue int) {
	r.Helper()
	p := []unix.PollFd{{Fd: int32(r.Queue(queue).FD()), Events: unix.POLLIN}}
	if n, err := unix.Poll(p, patience); n != 1 && !errors.Is(err, unix.EINTR) {
		r.Fatalf("frame %d did not come: %v; drops %v", r.serial, err, r.Queue(queue).Counters().Drops().ByReason())
	}
}

// A frame that does not fit is dropped whole, not cut, and the next one comes.
func TestTooLong(t *testing.T) {
	r := newRig(t, 1)
	room := func(n int) [][]byte { return [][]byte{make([]byte, n/2), make([]byte, n-n/2)} }
	frame := r.sign(udpFrame(9, make([]byte, 500), false))
	drops := &r.Queue(0).Counters().ToGuest.Drops
	for i, short := range []int{1, 100, len(frame), len(frame) + backend.HeaderLen} {
		r.inject(r.index, frame)
		r.wait(0)
		if n := r.Queue(0).Receive(room(len(frame) + backend.HeaderLen - short)); n != 0 || drops.Load(backend.DropTooLong) != uint64(i+1) {
			t.Errorf("%d bytes too little: %d, drops %v", short, n, drops.ByReason())
		}
	}
	r.inject(r.index, frame)
	r.wait(0)
	exact := room(len(frame) + backend.HeaderLen)
	if n := r.Queue(0).Receive(exact); n != len(frame)+backend.HeaderLen {
		t.Errorf("with exact room: %d", n)
	}
	got := make([]byte, len(frame))
	if backend.Gather(got, exact, backend.HeaderLen); !bytes.Equal(got, frame) {
		t.Error("with exact room: another frame")
	}
	// One call gives up after many; the descriptor says that there are more.
	for range maxLost + 1 {
		r.inject(r.index, frame)
	}
	before := drops.Load(backend.DropTooLong)
	if n := r.Queue(0).Receive(room(50)); n != 0 || drops.Load(backend.DropTooLong) != before+maxLost {
		t.Errorf("drops %v", drops.ByReason())
	}
	r.wait(0)
	if n := r.Queue(0).Receive(exact); n != len(frame)+backend.HeaderLen {
		t.Errorf("after many that are too long: %d", n)
	}
}

// A frame that was queued in a form that the driver has taken back is dropped.
func TestStaleOffload(t *testing.T) {
	r := newRig(t, 1)
	address(t, r.index, hostIP, 24)
	c := hostSocket(t)
	if err := r.SetOffloads(backend.Checksum); err != nil {
		t.Fatal(err)
	}
	r.send(c, nil)
	r.wait(0)
	if err := r.SetOffloads(0); err != nil {
		t.Fatal(err)
	}
	if n := r.Queue(0).Receive(r.bufs); n != 0 {
		t.Errorf("received %d bytes", n)
	}
	if d := r.Queue(0).Counters().Drops(); d.Load(backend.DropOffload) != 1 {
		t.Errorf("drops %v", d.ByReason())
	}
	r.send(c, nil)
	r.next()
}

// A datagram of several segments stays one frame where the driver has accepted that.
func TestUSOToGuest(t *testing.T) {
	r := newRig(t, 1)
	address(t, r.index, hostIP, 24)
	c := hostSocket(t)
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	const udpSegment = 103 // UDP_SEGMENT
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_UDP, udpSegment, 1000) }); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	_, offered := r.Offloads()
	for _, o := range []backend.Offloads{backend.Checksum, backend.Checksum | backend.USO} {
		if o&^offered != 0 {
			if r.SetOffloads(o) == nil {
				t.Error("an offload that was not offered is accepted")
			}
			continue
		}
		if err := r.SetOffloads(o); err != nil {
			t.Fatal(err)
		}
		r.send(c, make([]byte, 2992))
		frames := 0
		for {
			_, f, h := r.take(patience)
			if f == nil {
				t.Fatal("no frame")
			}
			frames++
			if whole := h.GSOType == backend.GSOUDPL4 && h.GSOSize == 1000 && len(f) == 42+3000; whole != (o&backend.USO != 0) {
				t.Errorf("%v: %d bytes, %+v", o, len(f), h)
			}
			if serialOf(f) == r.serial {
				break
			}
		}
		if want := map[bool]int{false: 3, true: 1}[o&backend.USO != 0]; frames != want {
			t.Errorf("%v: %d frames, want %d", o, frames, want)
		}
	}
}

// Whatever a guest hands over is counted once: it passed, or it was dropped.
func TestGarbage(t *testing.T) {
	r := newRig(t, 1)
	q := r.Queue(0)
	frame := udpFrame(9, []byte("x"), false)
	for i, h := range []backend.Header{
		{Flags: backend.FlagNeedsCsum, CsumStart: 65535, CsumOffset: 65535},
		{GSOType: 99, GSOSize: 1},
		{GSOType: backend.GSOTCPv4, GSOSize: 0},
		{GSOType: backend.GSOTCPv6, GSOSize: 65535, HdrLen: 65535},
		{HdrLen: 65535},
		{Flags: 255, GSOType: 255, HdrLen: 65535, GSOSize: 65535, CsumStart: 65535, CsumOffset: 65535, NumBuffers: 65535},
	} {
		q.Transmit(withHeader(h, frame))
		if c := q.Counters(); c.FromGuest.Packets.Load()+c.Drops().Total() != uint64(i+1) {
			t.Errorf("%+v: passed %d, dropped %v", h, c.FromGuest.Packets.Load(), c.Drops().ByReason())
		}
	}
	if d := q.Counters().Drops().Load(backend.DropOffload); d < 1 {
		t.Errorf("segmentation of an unknown type: drops %v", q.Counters().Drops().ByReason())
	}
	before := q.Counters().Drops().Load(backend.DropMalformed)
	q.Transmit(nil)
	q.Transmit([][]byte{make([]byte, 25)})
	q.Transmit([][]byte{make([]byte, 1<<20)})
	many := make([][]byte, 2000)
	for i := range many {
		many[i] = make([]byte, 1)
	}
	q.Transmit(many)
	if d := q.Counters().Drops().Load(backend.DropMalformed) - before; d != 4 {
		t.Errorf("%d of 4 impossible frames dropped", d)
	}
	setDown(t, r.index)
	q.Transmit(withHeader(backend.Header{}, frame))
	if d := q.Counters().Drops().Load(backend.DropHost); d != 1 {
		t.Errorf("interface down: drops %v", q.Counters().Drops().ByReason())
	}
	setUp(t, r.index)
	r.warmUp()
	q.Transmit(withHeader(backend.Header{}, frame))
	r.inject(r.index, r.sign(frame))
	r.next()
}

// Frames that the guest does not fetch are dropped by the kernel and counted here, also after Close.
func TestDropsBehindTheQueues(t *testing.T) {
	r := newRig(t, 1)
	before := r.Drops().Load(backend.DropQueueFull) // of the warm-up
	const sent = 3000
	for range sent {
		r.inject(r.index, r.sign(udpFrame(9, nil, false)))
	}
	received := 0
	for n := r.Queue(0).Receive(r.bufs); n > 0; n = r.Queue(0).Receive(r.bufs) {
		received++
	}
	lost := r.Drops().Load(backend.DropQueueFull) - before
	if received == 0 || lost == 0 || received+int(lost) != sent {
		t.Errorf("%d received and %d lost of %d", received, lost, sent)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if again := r.Drops().Load(backend.DropQueueFull) - before; again != lost {
		t.Errorf("%d lost after Close", again)
	}
}
