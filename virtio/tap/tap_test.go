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

func open(t testing.TB, name string, pairs int) *Tap {
	t.Helper()
	b, err := Open(name, pairs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

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

func udpFrame(port int, payload []byte, partial bool) []byte {
	f := make([]byte, 42, 42+len(payload))
	copy(f, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9, 8, 0})
	ip, u := f[14:34], f[34:42]
	copy(ip, []byte{0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 9, 0, 2})
	copy(ip[16:], hostAddr)
	binary.BigEndian.PutUint16(ip[2:], uint16(28+len(payload)))
	binary.BigEndian.PutUint16(ip[10:], ^uint16(sum(0, ip)))
	binary.BigEndian.PutUint16(u, 7000)
	binary.BigEndian.PutUint16(u[2:], uint16(port))
	binary.BigEndian.PutUint16(u[4:], uint16(8+len(payload)))
	f = append(f, payload...)
	pseudo := sum(uint32(17+8+len(payload)), f[26:34])
	if partial {
		binary.BigEndian.PutUint16(f[40:], uint16(pseudo))
	} else {
		binary.BigEndian.PutUint16(f[40:], ^uint16(sum(pseudo, f[34:])))
	}
	return f
}

func withHeader(h backend.Header, frame []byte) [][]byte {
	var raw [backend.HeaderLen]byte
	h.Put(&raw)
	return [][]byte{raw[:5], raw[5:], frame[:20], nil, frame[20:]}
}

func listen(t testing.TB) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: hostAddr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

func port(c *net.UDPConn) int { return c.LocalAddr().(*net.UDPAddr).Port }

func TestTransmit(t *testing.T) {
	newTap(t, "t0", unix.IFF_MULTI_QUEUE)
	b := open(t, "t0", 1)
	c := listen(t)
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
		if fromGuest, _ := b.Offloads(); tc.h.GSOType != 0 && fromGuest&backend.USO == 0 {
			t.Logf("%s: this kernel has no UDP segmentation for taps (Linux 6.2)", tc.name)
			continue
		}
		b.Queue(0).Transmit(withHeader(tc.h, tc.f))
		for i, want := range tc.want {
			buf := make([]byte, 65536)
			n, err := c.Read(buf)
			if err != nil || string(buf[:n]) != want {
				t.Errorf("%s: datagram %d has %d bytes, %v; drops %v", tc.name, i, n, err, b.Queue(0).Counters().Drops.ByReason())
			}
		}
	}
}

func receive(t testing.TB, q backend.Queue, bufs [][]byte) []byte {
	t.Helper()
	for {
		if n := q.Receive(bufs); n > 0 {
			f := make([]byte, n)
			backend.Gather(f, bufs, 0)
			if len(f) > 54 && f[backend.HeaderLen+23] == 17 {
				return f
			}
			continue
		}
		p := []unix.PollFd{{Fd: int32(q.FD()), Events: unix.POLLIN}}
		if n, err := unix.Poll(p, 20000); n != 1 && !errors.Is(err, unix.EINTR) {
			t.Fatalf("no frame came: %v", err)
		}
	}
}

func TestReceive(t *testing.T) {
	newTap(t, "t0", unix.IFF_MULTI_QUEUE)
	b := open(t, "t0", 1)
	c := listen(t)
	large := [][]byte{make([]byte, 7), make([]byte, 100), make([]byte, backend.MaxFrame)}
	small := [][]byte{make([]byte, 11), make([]byte, 200)}
	for _, tc := range []struct {
		name     string
		offloads backend.Offloads
		bufs     [][]byte
	}{
		{"complete", 0, large}, {"checksum", backend.Checksum, large}, {"everything", backend.Checksum | backend.TSO4 | backend.TSO6 | backend.ECN, large},
		{"little room", backend.Checksum, small}, {"inconsistent", backend.TSO4, large},
	} {
		if err := b.SetOffloads(tc.offloads); err != nil {
			t.Fatal(err)
		}
		if _, err := c.WriteTo([]byte("hello guest"), &net.UDPAddr{IP: hostNet, Port: 9}); err != nil {
			t.Fatal(err)
		}
		f := receive(t, b.Queue(0), tc.bufs)
		var h backend.Header
		h.Get((*[backend.HeaderLen]byte)(f))
		f = f[backend.HeaderLen:]
		if !bytes.HasSuffix(f, []byte("hello guest")) || h.NumBuffers != 1 {
			t.Errorf("%s: %+v %q", tc.name, h, f)
		}
		want := tc.offloads&backend.Checksum != 0
		if got := h.Flags&backend.FlagNeedsCsum != 0; got != want {
			t.Errorf("%s: header %+v", tc.name, h)
		}
		if !want && sum(sum(uint32(17+len(f)-34), f[26:34]), f[34:]) != 0xffff {
			t.Errorf("%s: the checksum is wrong", tc.name)
		}
	}
	// A frame that does not fit is dropped whole, not cut.
	c.WriteTo(make([]byte, 1000), &net.UDPAddr{IP: hostNet, Port: 9})
	c.WriteTo([]byte("next"), &net.UDPAddr{IP: hostNet, Port: 9})
	if f := receive(t, b.Queue(0), small); !bytes.HasSuffix(f, []byte("next")) {
		t.Errorf("after a frame that does not fit: %q", f)
	}
	if d := b.Queue(0).Counters().Drops.Load(backend.DropTooLong); d != 1 {
		t.Errorf("%d frames counted as too long", d)
	}
	if b.SetOffloads(1<<20) == nil {
		t.Error("an offload that was not offered is accepted")
	}
}

func TestGarbage(t *testing.T) {
	newTap(t, "t0", unix.IFF_MULTI_QUEUE)
	b := open(t, "t0", 1)
	q := b.Queue(0)
	frame := udpFrame(9, []byte("x"), false)
	for i, h := range []backend.Header{
		{Flags: backend.FlagNeedsCsum, CsumStart: 65535, CsumOffset: 65535},
		{GSOType: 99, GSOSize: 1},
		{GSOType: backend.GSOTCPv4, GSOSize: 0},
		{HdrLen: 65535},
	} {
		q.Transmit(withHeader(h, frame))
		if c := q.Counters(); c.FromGuest.Packets.Load()+c.Drops.Total() != uint64(i+1) {
			t.Errorf("%+v: passed %d, dropped %v", h, c.FromGuest.Packets.Load(), c.Drops.ByReason())
		}
	}
	before := q.Counters().Drops.Load(backend.DropMalformed)
	q.Transmit(nil)
	q.Transmit([][]byte{make([]byte, 25)})
	q.Transmit([][]byte{make([]byte, 1<<20)})
	many := make([][]byte, 2000)
	for i := range many {
		many[i] = make([]byte, 1)
	}
	q.Transmit(many)
	if d := q.Counters().Drops.Load(backend.DropMalformed) - before; d != 4 {
		t.Errorf("%d of 4 impossible frames dropped", d)
	}
	ioctl(t, "t0", unix.SIOCSIFFLAGS, func(r *unix.Ifreq) error { r.SetUint16(0); return nil })
	q.Transmit(withHeader(backend.Header{}, frame))
	if d := q.Counters().Drops.Load(backend.DropHost); d != 1 {
		t.Errorf("interface down: drops %v", q.Counters().Drops.ByReason())
	}
}

func TestActiveQueues(t *testing.T) {
	newTap(t, "t0", unix.IFF_MULTI_QUEUE)
	b := open(t, "t0", 4)
	buf := make([]byte, backend.MaxFrame)
	for _, active := range []int{1, 4, 2, 3, 1} {
		if err := b.SetActive(active); err != nil {
			t.Fatal(err)
		}
		seen := map[int]bool{}
		for range 40 {
			c := listen(t)
			if _, err := c.WriteTo([]byte("x"), &net.UDPAddr{IP: hostNet, Port: 9}); err != nil {
				t.Fatal(err)
			}
			for i := 0; ; i = (i + 1) % 4 {
				if n := b.Queue(i).Receive([][]byte{buf}); n > 0 {
					seen[i] = true
					break
				}
			}
			c.Close()
		}
		for i := range seen {
			if i >= active {
				t.Errorf("%d active: a frame on queue %d", active, i)
			}
		}
		if active > 1 && len(seen) < 2 {
			t.Errorf("%d active: 40 flows used queues %v", active, seen)
		}
	}
	if b.SetActive(0) == nil || b.SetActive(5) == nil {
		t.Error("impossible numbers of queues are accepted")
	}
}

func TestMTU(t *testing.T) {
	newTap(t, "t0", unix.IFF_MULTI_QUEUE)
	b := open(t, "t0", 1)
	ioctl(t, "t0", unix.SIOCSIFMTU, func(r *unix.Ifreq) error { r.SetUint32(4321); return nil })
	if b.MTU() != 4321 || b.String() != "tap=t0" {
		t.Errorf("%v has MTU %d", b, b.MTU())
	}
}
