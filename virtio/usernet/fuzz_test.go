package usernet

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"testing"

	"doorbell/virtio/backend"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"golang.org/x/net/dns/dnsmessage"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// record is one frame of a fuzz input: its length, a virtio header, the frame.
func record(h backend.Header, frame []byte) []byte {
	var raw [backend.HeaderLen]byte
	h.Put(&raw)
	b := binary.BigEndian.AppendUint16(nil, uint16(backend.HeaderLen+len(frame)))
	return append(append(b, raw[:]...), frame...)
}

func join(records ...[]byte) (b []byte) {
	for _, r := range records {
		b = append(b, r...)
	}
	return b
}

// repair gives a frame whose header has the otherwise unused flag 0x40 right checksums, so that a mutation gets behind the check of them.
func repair(record []byte) []byte {
	const l3 = backend.HeaderLen + backend.EthernetLen
	if len(record) < l3+header.IPv4MinimumSize || record[0]&0x40 == 0 {
		return record
	}
	record = append([]byte(nil), record...)
	ip := header.IPv4(record[l3:])
	if !ip.IsValid(len(ip)) {
		return record
	}
	ip.SetChecksum(0)
	ip.SetChecksum(^ip.CalculateChecksum())
	h := backend.Header{Flags: backend.FlagNeedsCsum, GSOType: record[1], GSOSize: 1000, CsumStart: uint16(backend.EthernetLen) + uint16(ip.HeaderLength()), CsumOffset: 16}
	if ip.TransportProtocol() == header.UDPProtocolNumber {
		h.CsumOffset = 6
	}
	if ip.TransportProtocol() == header.ICMPv4ProtocolNumber {
		h.Flags, h.GSOType = 0, 0
		if m := header.ICMPv4(ip.Payload()); len(m) >= header.ICMPv4MinimumSize {
			m.SetChecksum(0)
			m.SetChecksum(header.ICMPv4Checksum(m, 0))
		}
	}
	h.Put((*[backend.HeaderLen]byte)(record))
	return record
}

// FuzzFrames plays a hostile driver: frames of any content with headers of any content. The network must neither panic nor hang, hold no
// more than its limits, and still answer the next well-behaved request.
func FuzzFrames(f *testing.F) {
	none := backend.Header{}
	discover, err := dhcpv4.NewDiscovery(card)
	if err != nil {
		f.Fatal(err)
	}
	query := dnsmessage.Message{Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName("host.doorbell."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}}}
	q, err := query.Pack()
	if err != nil {
		f.Fatal(err)
	}
	outside := netip.MustParseAddr("198.51.100.1")
	syn := tcpFrame(1000, outside, 80, "S")
	f.Add(join(record(none, arpRequest(gatewayAddr)), record(none, syn), record(none, tcpFrame(1000, outside, 80, "A")), record(none, tcpFrame(1000, outside, 80, "R"))))
	f.Add(record(none, udpFrame(netip.IPv4Unspecified(), 68, netip.MustParseAddr("255.255.255.255"), 67, discover.ToBytes())))
	f.Add(record(none, udpFrame(guestAddr, 5353, dnsAddr, 53, q)))
	f.Add(record(none, udpFrame(guestAddr, 5000, outside, 6000, []byte("hello"))))
	f.Add(record(backend.Header{Flags: backend.FlagNeedsCsum, GSOType: backend.GSOTCPv4, GSOSize: 1, CsumStart: 34, CsumOffset: 16}, syn))
	f.Add(record(backend.Header{Flags: backend.FlagNeedsCsum, CsumStart: 65535, CsumOffset: 65535}, syn))
	f.Add(record(backend.Header{Flags: backend.FlagNeedsCsum, CsumStart: 52, CsumOffset: 0}, syn))
	f.Add(record(backend.Header{GSOType: backend.GSOUDPL4, GSOSize: 65535}, syn))
	f.Add(record(backend.Header{Flags: 255, GSOType: 255}, append(syn, make([]byte, 3000)...)))
	f.Add([]byte{0, 5, 1, 2, 3, 4, 5, 0, 0})
	fragment := udpFrame(guestAddr, 1, outside, 2, make([]byte, 64))
	header.IPv4(fragment[14:]).SetFlagsFragmentOffset(header.IPv4FlagMoreFragments, 65528)
	header.IPv4(fragment[14:]).SetChecksum(0)
	header.IPv4(fragment[14:]).SetChecksum(^header.IPv4(fragment[14:]).CalculateChecksum())
	f.Add(record(none, fragment))

	fixed := backend.Header{Flags: 0x40}
	f.Add(join(record(fixed, syn), record(fixed, tcpFrame(1000, outside, 80, "A")), record(fixed, tcpFrame(1000, outside, 80, "AF"))))
	f.Add(record(fixed, udpFrame(netip.IPv4Unspecified(), 68, netip.MustParseAddr("255.255.255.255"), 67, discover.ToBytes())))
	f.Add(record(fixed, udpFrame(guestAddr, 5353, dnsAddr, 53, q)))
	f.Add(record(fixed, tcpFrame(1001, dnsAddr, 53, "S")))
	f.Add(record(fixed, fragment))
	echo := header.ICMPv4(make([]byte, 16))
	echo.SetType(header.ICMPv4Echo)
	f.Add(join(record(fixed, ipFrame(guestAddr, gatewayAddr, header.ICMPv4ProtocolNumber, echo)), record(fixed, ipFrame(guestAddr, outside, header.ICMPv4ProtocolNumber, echo))))

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	sink := netip.MustParseAddrPort(l.Addr().String())
	f.Fuzz(func(t *testing.T, in []byte) {
		n, err := New(Config{Queues: 2, Resolver: os.DevNull, Limits: Limits{TCP: 4, Pending: 4, UDP: 4, Echo: 2, DNS: 2, QueueFrames: 16, QueueBytes: 64 << 10}})
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		n.reach = func(to netip.AddrPort) (netip.AddrPort, bool) {
			_, ok := onHost(to)
			return sink, ok
		}
		if len(in) > 0 && in[len(in)-1]&1 != 0 {
			n.SetOffloads(offloads)
		}
		w := newWire(t, n)
		for len(in) >= 2 {
			size := min(int(binary.BigEndian.Uint16(in)), len(in)-2)
			record := in[2 : 2+size]
			in = in[2+size:]
			record = repair(record)
			size = len(record)
			cut := size / 3 // the guest may cut its buffers anywhere
			n.Queue(size % 2).Transmit([][]byte{record[:cut], record[cut:]})
			w.q.Receive([][]byte{w.buf[:cut], w.buf[cut:]})
		}
		if u, c := n.udp.len(), n.tcp.len(); u > 4 || c > 4 {
			t.Errorf("%d flows, %d connections", u, c)
		}
		n.dhcp.mu.Lock()
		if len(n.dhcp.owner) > maxLeases {
			t.Errorf("%d leases", len(n.dhcp.owner))
		}
		n.dhcp.mu.Unlock()
		for w.q.Receive([][]byte{w.buf}) > 0 {
		}
		w.resolve()
	})
}

// FuzzInspect is the frame parser alone, which is faster.
func FuzzInspect(f *testing.F) {
	f.Add(record(backend.Header{}, tcpFrame(1, guestAddr, 2, "S"))[2:], uint16(20))
	f.Add(record(backend.Header{Flags: 1, CsumStart: 40, CsumOffset: 9}, udpFrame(guestAddr, 1, dnsAddr, 2, make([]byte, 100)))[2:], uint16(60))
	f.Add(record(backend.Header{}, arpRequest(dnsAddr))[2:], uint16(0))
	// A checksum that would be stored in the IP header, behind the look at it.
	f.Add(record(backend.Header{Flags: 1, CsumStart: 0, CsumOffset: 15}, udpFrame(guestAddr, 1, dnsAddr, 2, make([]byte, 100)))[2:], uint16(0))
	f.Fuzz(func(t *testing.T, in []byte, first uint16) {
		in = bytes.Clone(in) // a checksum is stored in the frame
		if len(in) < backend.HeaderLen+backend.EthernetLen {
			return
		}
		var h backend.Header
		h.Get((*[backend.HeaderLen]byte)(in))
		frame := in[backend.HeaderLen:]
		// As Transmit cuts: in one piece if short, else with all headers in the first.
		head, rest := frame, []byte(nil)
		if len(frame) > headLen {
			cut := headLen + int(first)%(len(frame)-headLen)
			head, rest = frame[:cut], frame[cut:]
		}
		proto, why, ok := inspect(&h, head, rest)
		if !ok && why >= backend.NumDrops {
			t.Errorf("reason %d", why)
		}
		if ok && proto == header.IPv4ProtocolNumber && !header.IPv4(frame[backend.EthernetLen:]).IsChecksumValid() {
			t.Error("a wrong header checksum passed")
		}
	})
}

// FuzzDHCP is the DHCP server without the network below it.
func FuzzDHCP(f *testing.F) {
	discover, err := dhcpv4.NewDiscovery(card)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(discover.ToBytes())
	f.Add([]byte{1, 1, 6})
	n := newNetwork(f, Config{})
	f.Fuzz(func(t *testing.T, in []byte) {
		if reply, to := n.answerDHCP(in); reply != nil {
			if _, err := dhcpv4.FromBytes(reply.ToBytes()); err != nil || to == nil {
				t.Errorf("an answer that cannot be read: %v", err)
			}
		}
	})
}

// FuzzDNS is the name server without name servers behind it.
func FuzzDNS(f *testing.F) {
	query := dnsmessage.Message{Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName("host.doorbell."), Type: dnsmessage.TypeALL, Class: dnsmessage.ClassINET}}}
	q, err := query.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(q)
	f.Add(q[:13])
	n := newNetwork(f, Config{Resolver: os.DevNull})
	f.Fuzz(func(t *testing.T, in []byte) {
		if a := n.dns.answer(in, "udp"); a != nil {
			var m dnsmessage.Message
			if err := m.Unpack(a); err != nil || !m.Response || !answers(a, in) {
				t.Errorf("answer %x: %v", a, err)
			}
		}
	})
}

// FuzzParseForward is the command line's parser: what it takes, it takes again in its own spelling.
func FuzzParseForward(f *testing.F) {
	f.Add("tcp:127.0.0.1:8080-:80")
	f.Add("udp:[::1]:1-10.0.2.16:2")
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseForward(s)
		if err != nil {
			return
		}
		if b, err := ParseForward(a.String()); err != nil || a != b {
			t.Errorf("%q is %v, which is %v, %v", s, a, b, err)
		}
	})
}
