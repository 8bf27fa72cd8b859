package backend

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"
)

func TestHeaderRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw := [HeaderLen]byte(rapid.SliceOfN(rapid.Byte(), HeaderLen, HeaderLen).Draw(t, "raw"))
		var h Header
		h.Get(&raw)
		var again [HeaderLen]byte
		h.Put(&again)
		if raw != again {
			t.Fatalf("%x is %+v, which is %x", raw, h, again)
		}
	})
	// The layout of virtio 1.2, 5.1.6.
	h := Header{Flags: 1, GSOType: 2, HdrLen: 0x0403, GSOSize: 0x0605, CsumStart: 0x0807, CsumOffset: 0x0a09, NumBuffers: 0x0c0b}
	var raw [HeaderLen]byte
	h.Put(&raw)
	if want := [HeaderLen]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}; raw != want {
		t.Errorf("%x", raw)
	}
}

// Scatter and Gather agree with copying to and from one buffer, however it is cut.
func TestScatterGather(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		flat := rapid.SliceOfN(rapid.Byte(), 0, 60).Draw(t, "flat")
		var list [][]byte
		for at := 0; at < len(flat); {
			n := rapid.IntRange(0, len(flat)-at).Draw(t, "cut")
			list = append(list, flat[at:at+n])
			at += n
		}
		off := rapid.IntRange(0, len(flat)).Draw(t, "offset")
		p := rapid.SliceOfN(rapid.Byte(), 0, 70).Draw(t, "data")
		want := bytes.Clone(flat)
		k := copy(want[off:], p)
		if n := Scatter(list, off, p); n != k || !bytes.Equal(flat, want) || Len(list) != len(flat) {
			t.Fatalf("scattered %d of %d to %x, want %x", n, k, flat, want)
		}
		got := make([]byte, len(p))
		if n := Gather(got, list, off); n != k || !bytes.Equal(got[:n], p[:k]) {
			t.Fatalf("gathered %d: %x", n, got)
		}
	})
}

func TestOffloads(t *testing.T) {
	for o, want := range map[Offloads]Offloads{
		0: 0, Checksum: Checksum, TSO4: 0, ECN | Checksum: Checksum, ECN | TSO4 | Checksum: ECN | TSO4 | Checksum, USO | Checksum: USO | Checksum,
	} {
		if got := o.Consistent(); got != want {
			t.Errorf("%v: %v, want %v", o, got, want)
		}
	}
	if s := (Checksum | USO).String(); s != "csum+uso" || Offloads(0).String() != "none" {
		t.Errorf("%s", s)
	}
}

func TestDrops(t *testing.T) {
	var d Drops
	for i := range NumDrops {
		if i.String() == "" || i.String() == "unknown" {
			t.Errorf("reason %d has no name", i)
		}
		d.Add(i)
	}
	d.Add(DropHost)
	if d.Total() != uint64(NumDrops)+1 || d.ByReason()["host"] != 2 || NumDrops.String() != "unknown" {
		t.Errorf("%v", d.ByReason())
	}
}

// Close waits for who is inside and lets nobody in afterwards.
func TestGate(t *testing.T) {
	for range 20 {
		g := NewGate()
		var inside, closed atomic.Int64
		var group, ready sync.WaitGroup
		for range 4 {
			group.Add(1)
			ready.Add(1)
			go func() {
				defer group.Done()
				for first := true; g.Enter(); first = false {
					inside.Add(1)
					if closed.Load() != 0 {
						t.Error("inside a closed gate")
					}
					if first {
						ready.Done()
					}
					inside.Add(-1)
					g.Leave()
				}
			}()
		}
		ready.Wait()
		for range 2 {
			group.Add(1)
			go func() {
				defer group.Done()
				g.Close()
				closed.Store(1)
				if n := inside.Load(); n != 0 {
					t.Errorf("%d inside a closed gate", n)
				}
			}()
		}
		group.Wait()
		if g.Enter() {
			t.Error("a closed gate opens")
		}
	}
}

// key and vectors are those that the specification of receive-side scaling publishes for verification.
var key = []byte{
	0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb,
	0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
}

var vectors = []struct {
	src, dst     string
	ports, addrs uint32
}{
	{"66.9.149.187:2794", "161.142.100.80:1766", 0x51ccc178, 0x323e8fc2},
	{"199.92.111.2:14230", "65.69.140.83:4739", 0xc626b0ea, 0xd718262a},
	{"24.19.198.95:12898", "12.22.207.184:38024", 0x5c2b394a, 0xd2d0a5de},
	{"[3ffe:2501:200:1fff::7]:2794", "[3ffe:2501:200:3::1]:1766", 0x40207d3d, 0x2cc18cd5},
}

// packet is a frame of protocol proto.
func packet(src, dst netip.AddrPort, proto byte) []byte {
	f := make([]byte, 14, 100)
	if src.Addr().Is4() {
		binary.BigEndian.PutUint16(f[12:], 0x0800)
		f = append(f, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, proto, 0, 0)
	} else {
		binary.BigEndian.PutUint16(f[12:], 0x86dd)
		f = append(f, 0x60, 0, 0, 0, 0, 8, proto, 64)
	}
	f = append(append(f, src.Addr().AsSlice()...), dst.Addr().AsSlice()...)
	f = binary.BigEndian.AppendUint16(f, src.Port())
	f = binary.BigEndian.AppendUint16(f, dst.Port())
	return append(f, 0, 8, 0, 0)
}

func TestHash(t *testing.T) {
	all, err := NewSteering(SupportedHashTypes, []uint16{0, 1, 2, 3}, 9, key)
	if err != nil {
		t.Fatal(err)
	}
	addrs, err := NewSteering(HashIPv4|HashIPv6, []uint16{0, 1, 2, 3}, 9, key)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range vectors {
		src, dst := netip.MustParseAddrPort(v.src), netip.MustParseAddrPort(v.dst)
		six := uint16(0)
		if src.Addr().Is6() {
			six = ReportIPv6 - ReportIPv4
		}
		for _, c := range []struct {
			s      *Steering
			proto  byte
			hash   uint32
			report uint16
		}{
			{all, protoTCP, v.ports, ReportTCPv4 + six}, {all, protoUDP, v.ports, ReportUDPv4 + six}, {all, 1, v.addrs, ReportIPv4 + six},
			{addrs, protoTCP, v.addrs, ReportIPv4 + six},
		} {
			f := packet(src, dst, c.proto)
			if h, r := c.s.Hash(f); h != c.hash || r != c.report {
				t.Errorf("%v protocol %d: %#x of %d, want %#x of %d", src, c.proto, h, r, c.hash, c.report)
			}
			if q := c.s.Queue(f); q != uint16(c.hash&3) {
				t.Errorf("%v: queue %d", src, q)
			}
		}
		// Fragments have no ports; what is cut short or unknown has no hash.
		if !src.Addr().Is6() {
			f := packet(src, dst, protoTCP)
			f[20] = 0x20
			if h, r := all.Hash(f); h != v.addrs || r != ReportIPv4 {
				t.Errorf("a fragment: %#x of %d", h, r)
			}
		}
		f := packet(src, dst, protoTCP)
		if q := all.Queue(f[:20]); q != 9 {
			t.Errorf("a short frame: queue %d", q)
		}
		f[13] = 6 // ARP
		if q := all.Queue(f); q != 9 {
			t.Errorf("another protocol: queue %d", q)
		}
	}
}

func TestSteeringErrors(t *testing.T) {
	for _, c := range []struct {
		types uint32
		table []uint16
		key   []byte
	}{
		{1 << 6, []uint16{0}, key}, {1, nil, key}, {1, make([]uint16, 3), key}, {1, make([]uint16, 256), key}, {1, []uint16{0}, key[:39]}, {1, []uint16{0}, nil},
	} {
		if _, err := NewSteering(c.types, c.table, 0, c.key); err == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
}

// FuzzHash finds a queue of the table, or the one for the unclassified, for any frame, and the first 96 bytes decide.
func FuzzHash(f *testing.F) {
	for _, v := range vectors {
		f.Add(packet(netip.MustParseAddrPort(v.src), netip.MustParseAddrPort(v.dst), protoTCP), uint32(SupportedHashTypes))
	}
	f.Fuzz(func(t *testing.T, frame []byte, types uint32) {
		s, err := NewSteering(types&SupportedHashTypes, []uint16{5, 6}, 7, key)
		if err != nil {
			t.Fatal(err)
		}
		q := s.Queue(frame)
		if q < 5 || q > 7 || q != s.Queue(frame[:min(len(frame), 96)]) {
			t.Errorf("queue %d", q)
		}
	})
}

func BenchmarkHash(b *testing.B) {
	s, err := NewSteering(SupportedHashTypes, []uint16{0, 1}, 0, key)
	if err != nil {
		b.Fatal(err)
	}
	f := packet(netip.MustParseAddrPort(vectors[0].src), netip.MustParseAddrPort(vectors[0].dst), protoTCP)
	for b.Loop() {
		s.Queue(f)
	}
}

func BenchmarkGate(b *testing.B) {
	g := NewGate()
	for b.Loop() {
		g.Enter()
		g.Leave()
	}
}
