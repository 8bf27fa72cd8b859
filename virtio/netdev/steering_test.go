package netdev

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"doorbell/virtio/backend"
)

// rss sends VIRTIO_NET_CTRL_MQ_RSS_CONFIG with the published key.
func (g *guest) rss(table []uint16, types uint32) {
	g.tb.Helper()
	g.do(4, 1, rssConfig(table, 0, types, uint16(g.device.pairs))...)
}

func rssConfig(table []uint16, unclassified uint16, types uint32, transmit uint16) []byte {
	data := append(append(le32(types), le16(uint16(len(table)-1))...), le16(unclassified)...)
	for _, q := range table {
		data = append(data, le16(q)...)
	}
	data = append(append(data, le16(transmit)...), 40)
	return append(data, publishedKey...)
}

// publishedKey and publishedVectors are what the specification of receive-side scaling gives for verification.
var publishedKey = []byte{
	0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb,
	0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
}

var publishedVectors = []struct {
	src, dst     string
	ports, addrs uint32
	six          uint16
}{
	{"66.9.149.187:2794", "161.142.100.80:1766", 0x51ccc178, 0x323e8fc2, 0},
	{"199.92.111.2:14230", "65.69.140.83:4739", 0xc626b0ea, 0xd718262a, 0},
	{"24.19.198.95:12898", "12.22.207.184:38024", 0x5c2b394a, 0xd2d0a5de, 0},
	{"[3ffe:2501:200:1fff::7]:2794", "[3ffe:2501:200:3::1]:1766", 0x40207d3d, 0x2cc18cd5, 3},
}

// ipPacket is a frame of protocol proto to the guest.
func ipPacket(src, dst string, proto byte) []byte {
	s, d := netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)
	f := ethernet(testMAC, 0, 0)
	if s.Addr().Is4() {
		binary.BigEndian.PutUint16(f[12:], 0x0800)
		f = append(f, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, proto, 0, 0)
	} else {
		binary.BigEndian.PutUint16(f[12:], 0x86dd)
		f = append(f, 0x60, 0, 0, 0, 0, 8, proto, 64)
	}
	f = append(append(f, s.Addr().AsSlice()...), d.Addr().AsSlice()...)
	f = binary.BigEndian.AppendUint16(f, s.Port())
	f = binary.BigEndian.AppendUint16(f, d.Port())
	return append(f, 0, 8, 0, 0)
}

// Published hashes appear in the header, by RSS_CONFIG, by HASH_CONFIG, and when the device steers; without either there is none.
func TestHashReport(t *testing.T) {
	const tcp, udp = 6, 17
	for _, way := range []string{"rss", "hash", "device", "small buffers"} {
		t.Run(way, func(t *testing.T) {
			w := newWire(2)
			w.noSteering = way == "device"
			s := setup{backend: w}
			if way == "small buffers" {
				s.receiveSize = 23
			}
			g := newGuest(t, s)
			defer g.close()
			g.start()
			w.put(0, ipPacket(publishedVectors[0].src, publishedVectors[0].dst, tcp))
			if r := g.receive(0); r.report != backend.ReportNone || r.hash != 0 {
				t.Errorf("hash %#x of %d before any is configured", r.hash, r.report)
			}
			if way == "hash" || way == "small buffers" {
				g.do(4, 2, append(append(le32(backend.SupportedHashTypes), make([]byte, 8)...), append([]byte{40}, publishedKey...)...)...)
			} else {
				g.rss([]uint16{0}, backend.SupportedHashTypes)
			}
			for _, v := range publishedVectors {
				for _, c := range []struct {
					proto  byte
					hash   uint32
					report uint16
				}{{tcp, v.ports, 2 + v.six}, {udp, v.ports, 3 + v.six}, {1, v.addrs, 1 + v.six}} {
					f := ipPacket(v.src, v.dst, c.proto)
					w.put(0, f)
					if r := g.receive(0); r.hash != c.hash || r.report != c.report || !bytes.Equal(r.frame, f) {
						t.Errorf("%s protocol %d: hash %#x of %d, want %#x of %d", v.src, c.proto, r.hash, r.report, c.hash, c.report)
					}
				}
			}
			w.put(0, ethernet(testMAC, 40, 0))
			if r := g.receive(0); r.report != 0 || r.hash != 0 {
				t.Errorf("another protocol: hash %#x of %d", r.hash, r.report)
			}
		})
	}
}

// VQ_PAIRS_SET moves traffic: the second pair is not read before, and is after.
func TestPairs(t *testing.T) {
	w := newWire(2)
	g := newGuest(t, setup{backend: w})
	defer g.close()
	g.start()
	g.send(1, ethernet(testMAC, 50, 1))
	g.send(0, ethernet(testMAC, 50, 2))
	g.until("the first pair's frame is sent", func() bool { return len(w.sent(0)) == 1 })
	g.do(0, 0, 0)
	if len(w.sent(1)) != 0 {
		t.Error("the second pair is read before it is used")
	}
	g.do(4, 0, 2, 0)
	g.until("the second pair's frame is sent", func() bool { return len(w.sent(1)) == 1 })
	w.put(1, ethernet(testMAC, 50, 3))
	g.receive(1)
	if a, _, _ := w.state(); a != 2 || g.device.State().TransmitPairs != 2 {
		t.Errorf("%d pairs at the backend", a)
	}
	g.do(4, 0, 1, 0)
	if a, _, _ := w.state(); a != 1 {
		t.Errorf("%d pairs at the backend", a)
	}
	// What the backend refuses changes nothing.
	w.failing.Store(true)
	g.refused(4, 0, 2, 0)
	g.refused(5, 0, le64(0)...)
	w.failing.Store(false)
	if s := g.device.State(); s.ReceivePairs != 1 || s.Offloads != allOffloads {
		t.Errorf("%+v", s)
	}
}

// Where the backend does not steer, each flow reaches the queue of its hash, in order, whichever queue it came in on.
func TestDeviceSteers(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			const pairs, frames = 3, 400
			w := newWire(pairs)
			w.noSteering = true
			g := newGuest(t, setup{backend: w, transport: k.off, queueSize: 32})
			defer g.close()
			g.start()
			table := []uint16{2, 1, 0, 1, 2, 2, 1, 0}
			g.rss(table, backend.SupportedHashTypes)
			if s := g.device.State(); s.RSS.Mode != SteeringDevice || s.ReceivePairs != pairs || !slices.Equal(s.RSS.Indirection, table) {
				t.Fatalf("%+v", s.RSS)
			}
			steering, err := backend.NewSteering(backend.SupportedHashTypes, table, 0, publishedKey)
			if err != nil {
				t.Fatal(err)
			}
			want := [pairs]int{}
			for i := range frames {
				f := ipPacket(fmt.Sprintf("192.0.2.1:%d", 1000+i%29), "192.0.2.2:80", 6)
				f = append(f, le32(uint32(i))...)
				want[steering.Queue(f)]++
				w.put(i%29%pairs, f) // a flow comes in on one queue
			}
			got, last := [pairs]int{}, map[uint16]uint32{}
			g.until("all frames are there", func() bool {
				for pair := range pairs {
					for {
						r, ok := g.poll(pair)
						if !ok {
							break
						}
						if int(steering.Queue(r.frame)) != pair {
							t.Fatalf("a frame of queue %d on queue %d", steering.Queue(r.frame), pair)
						}
						flow, n := binary.BigEndian.Uint16(r.frame[34:]), binary.LittleEndian.Uint32(r.frame[len(r.frame)-4:])
						if at, ok := last[flow]; ok && n <= at {
							t.Fatalf("flow %d: frame %d after %d", flow, n, at)
						}
						last[flow] = n
						got[pair]++
					}
				}
				return got == want
			})
			// Automatic steering again: frames stay on their queue.
			g.do(4, 0, pairs, 0)
			for pair := range pairs {
				w.put(pair, ethernet(testMAC, 50, byte(pair)))
				if r := g.receive(pair); r.frame[14] != byte(pair) {
					t.Errorf("pair %d gets the frame of %d", pair, r.frame[14])
				}
			}
		})
	}
}

// A receiver whose queue has failed still hands on what its backend queue has for the others, in a device that steers.
func TestSteeringPastFailedQueue(t *testing.T) {
	w := newWire(2)
	w.noSteering = true
	g := newGuest(t, setup{backend: w, transport: packed, queueSize: 32})
	defer g.close()
	g.start()
	g.rss([]uint16{1, 1}, backend.SupportedHashTypes)
	f := ipPacket("192.0.2.1:1000", "192.0.2.2:80", 6)
	w.put(0, f) // comes on the backend's queue 0, and is for receiver 1
	g.receive(1)
	q := g.queues[0]
	at := q.base + driverAt
	g.ram[at+2], g.ram[at+3] = 0xff, 0x7f // the available index jumps
	for range 40 {
		w.put(0, ethernet(testMAC, 50, 1)) // of no flow, hence for receiver 0
	}
	g.until("the device needs a reset", g.t.NeedsReset)
	for range 3 {
		w.put(0, f)
		g.receive(1)
	}
	g.start() // and a reset ends it
	w.put(0, f)
	g.receive(0)
}

// A device that would need too many rings to steer refuses to.
func TestSteeringTooManyPairs(t *testing.T) {
	w := newWire(maxSteered + 1)
	w.noSteering = true
	g := newGuest(t, setup{backend: w, queueSize: 16})
	defer g.close()
	g.start()
	if ack, _ := g.command(4, 1, rssConfig([]uint16{0, 1}, 0, backend.SupportedHashTypes, 2), 0); ack != ackErr {
		t.Errorf("RSS is answered with %d", ack)
	}
	w.put(0, ethernet(testMAC, 50, 1))
	g.receive(0)
}
