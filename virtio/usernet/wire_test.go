package usernet

import (
	"net/netip"
	"testing"
	"time"

	"doorbell/virtio/backend"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// wire is the driver's end of queue 0 for tests that write frames by hand.
type wire struct {
	t    testing.TB
	q    backend.Queue
	came chan struct{}
	buf  []byte
}

func newWire(t testing.TB, n *Network) *wire {
	w := &wire{t: t, q: n.Queue(0), came: make(chan struct{}, 1), buf: make([]byte, backend.MaxFrame)}
	w.q.Notify(func() {
		select {
		case w.came <- struct{}{}:
		default:
		}
	})
	return w
}

// send transmits a frame without offloads.
func (w *wire) send(frame []byte) { w.sendWith(backend.Header{}, frame) }

func (w *wire) sendWith(h backend.Header, frame []byte) {
	var raw [backend.HeaderLen]byte
	h.Put(&raw)
	w.q.Transmit([][]byte{raw[:], frame})
}

// expect is the next frame that ok accepts, without its virtio header.
func (w *wire) expect(what string, ok func(frame []byte) bool) []byte {
	w.t.Helper()
	timeout := time.After(20 * time.Second)
	for {
		if n := w.q.Receive([][]byte{w.buf}); n > 0 {
			if f := w.buf[backend.HeaderLen:n]; ok(f) {
				return append([]byte(nil), f...)
			}
			continue
		}
		select {
		case <-w.came:
		case <-timeout:
			w.t.Fatalf("%s did not come", what)
		}
	}
}

// resolve tells the network the guest's hardware address, by asking for the gateway's.
func (w *wire) resolve() {
	w.t.Helper()
	w.send(arpRequest(gatewayAddr))
	w.expect("the answer to an ARP request", func(f []byte) bool {
		return header.Ethernet(f).Type() == header.ARPProtocolNumber && header.ARP(f[14:]).Op() == header.ARPReply
	})
}

func arpRequest(target netip.Addr) []byte {
	f := make([]byte, 14+header.ARPSize)
	header.Ethernet(f).Encode(&header.EthernetFields{SrcAddr: guestMAC, DstAddr: header.EthernetBroadcastAddress, Type: header.ARPProtocolNumber})
	a := header.ARP(f[14:])
	a.SetIPv4OverEthernet()
	a.SetOp(header.ARPRequest)
	copy(a.HardwareAddressSender(), guestMAC)
	copy(a.ProtocolAddressSender(), guestAddr.AsSlice())
	copy(a.ProtocolAddressTarget(), target.AsSlice())
	return f
}

// ipFrame is an Ethernet frame with an IPv4 packet to the gateway's hardware address.
func ipFrame(src, dst netip.Addr, proto tcpip.TransportProtocolNumber, payload []byte) []byte {
	f := make([]byte, 14+20, 14+20+len(payload))
	header.Ethernet(f).Encode(&header.EthernetFields{SrcAddr: guestMAC, DstAddr: tcpip.LinkAddress(gatewayMAC), Type: header.IPv4ProtocolNumber})
	ip := header.IPv4(f[14:])
	ip.Encode(&header.IPv4Fields{TotalLength: uint16(20 + len(payload)), TTL: 64, Protocol: uint8(proto), SrcAddr: toStack(src), DstAddr: toStack(dst)})
	ip.SetChecksum(^ip.CalculateChecksum())
	return append(f, payload...)
}

func udpFrame(src netip.Addr, srcPort int, dst netip.Addr, dstPort int, payload []byte) []byte {
	u := make([]byte, 8, 8+len(payload))
	header.UDP(u).Encode(&header.UDPFields{SrcPort: uint16(srcPort), DstPort: uint16(dstPort), Length: uint16(8 + len(payload))})
	u = append(u, payload...)
	sum := header.PseudoHeaderChecksum(header.UDPProtocolNumber, toStack(src), toStack(dst), uint16(len(u)))
	header.UDP(u).SetChecksum(^checksum.Checksum(u, sum))
	return ipFrame(src, dst, header.UDPProtocolNumber, u)
}

func tcpFlags(s string) (f header.TCPFlags) {
	for _, c := range s {
		f |= map[rune]header.TCPFlags{'S': header.TCPFlagSyn, 'A': header.TCPFlagAck, 'R': header.TCPFlagRst, 'F': header.TCPFlagFin}[c]
	}
	return f
}

func tcpFrame(srcPort int, dst netip.Addr, dstPort int, flags string) []byte {
	b := make([]byte, 20)
	header.TCP(b).Encode(&header.TCPFields{
		SrcPort: uint16(srcPort), DstPort: uint16(dstPort), SeqNum: 1000, DataOffset: 20, Flags: tcpFlags(flags), WindowSize: 65535,
	})
	sum := header.PseudoHeaderChecksum(header.TCPProtocolNumber, toStack(guestAddr), toStack(dst), uint16(len(b)))
	header.TCP(b).SetChecksum(^checksum.Checksum(b, sum))
	return ipFrame(guestAddr, dst, header.TCPProtocolNumber, b)
}

// isTCP reports whether a frame is a TCP segment with exactly these flags.
func isTCP(f []byte, flags string) bool {
	return len(f) >= 54 && header.Ethernet(f).Type() == header.IPv4ProtocolNumber && f[23] == 6 && header.TCP(f[34:]).Flags() == tcpFlags(flags)
}

// isUDP returns a datagram's payload if the frame has one between these ports.
func isUDP(f []byte, srcPort, dstPort int) ([]byte, bool) {
	if len(f) < 42 || header.Ethernet(f).Type() != header.IPv4ProtocolNumber || f[23] != 17 {
		return nil, false
	}
	u := header.UDP(f[34:])
	return f[42:], int(u.SourcePort()) == srcPort && int(u.DestinationPort()) == dstPort
}
