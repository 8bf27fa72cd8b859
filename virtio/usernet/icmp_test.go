package usernet

import (
	"net/netip"
	"testing"

	"doorbell/virtio/backend"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

func TestEcho(t *testing.T) {
	n := newNetwork(t, Config{})
	w := newWire(t, n)
	w.resolve()
	request := func(dst netip.Addr) []byte {
		m := make([]byte, 8, 64)
		h := header.ICMPv4(m)
		h.SetType(header.ICMPv4Echo)
		h.SetIdent(4711)
		h.SetSequence(3)
		m = append(m, "payload of an echo request"...)
		h.SetChecksum(header.ICMPv4Checksum(m, 0))
		return ipFrame(guestAddr, dst, header.ICMPv4ProtocolNumber, m)
	}
	reply := func(from netip.Addr) func([]byte) bool {
		return func(f []byte) bool {
			return len(f) > 42 && f[23] == 1 && fromStack(header.IPv4(f[14:]).SourceAddress()) == from && header.ICMPv4(f[34:]).Type() == header.ICMPv4EchoReply &&
				header.ICMPv4(f[34:]).Ident() == 4711 && header.ICMPv4(f[34:]).Sequence() == 3 && string(f[42:]) == "payload of an echo request"
		}
	}
	for _, a := range []netip.Addr{gatewayAddr, dnsAddr} {
		w.send(request(a))
		w.expect("the answer of "+a.String(), reply(a))
	}
	w.send(request(netip.MustParseAddr("10.0.2.99")))
	if n.drops.Load(backend.DropUnreachable) != 1 {
		t.Errorf("drops %v after a request to an address that is not there", n.drops.ByReason())
	}
	// The host's own address is one that answers, whatever else is reachable.
	own := hostAddress(t)
	w.send(request(own))
	if pingAllowed(t) {
		w.expect("the answer of "+own.String(), reply(own))
	} else if n.drops.Load(backend.DropRefused) != 1 {
		t.Errorf("drops %v after a request that the host does not permit", n.drops.ByReason())
	}
}
