package usernet

import (
	"net/netip"
	"testing"

	"doorbell/virtio/backend"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

func TestARP(t *testing.T) {
	n := newNetwork(t, Config{})
	w := newWire(t, n)
	w.send(arpRequest(guestAddr))
	w.send(arpRequest(netip.MustParseAddr("10.0.2.99")))
	w.send(arpRequest(dnsAddr))
	f := w.expect("an answer", func(f []byte) bool { return header.Ethernet(f).Type() == header.ARPProtocolNumber })
	if a := netip.AddrFrom4([4]byte(header.ARP(f[14:]).ProtocolAddressSender())); a != dnsAddr {
		t.Errorf("somebody answers for %v", a)
	}
}

func TestLoopbackAddressesDoNotPass(t *testing.T) {
	n := newNetwork(t, Config{})
	w := newWire(t, n)
	w.send(tcpFrame(1, netip.MustParseAddr("127.0.0.1"), 22, "S"))
	if d := w.q.Counters().Drops().Load(backend.DropUnreachable); d != 1 {
		t.Errorf("drops %v", w.q.Counters().Drops().ByReason())
	}
}
