package usernet

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"doorbell/virtio/backend"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

var card = net.HardwareAddr(guestMAC)

func exchange(t testing.TB, w *wire, m *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
	t.Helper()
	w.send(udpFrame(netip.IPv4Unspecified(), 68, netip.MustParseAddr("255.255.255.255"), 67, m.ToBytes()))
	var answer *dhcpv4.DHCPv4
	w.expect("an answer to DHCP", func(f []byte) bool {
		p, ok := isUDP(f, 67, 68)
		if !ok {
			return false
		}
		a, err := dhcpv4.FromBytes(p)
		if err != nil {
			t.Fatal(err)
		}
		answer = a
		return a.TransactionID == m.TransactionID
	})
	return answer
}

func TestDHCP(t *testing.T) {
	n := newNetwork(t, Config{MTU: 4000, MAC: card})
	w := newWire(t, n)
	other, err := dhcpv4.NewDiscovery(net.HardwareAddr{2, 0, 0, 0, 0, 1})
	if err != nil {
		t.Fatal(err)
	}
	if a := exchange(t, w, other); a.YourIPAddr.String() != "10.0.2.16" {
		t.Errorf("another card was offered %v; 10.0.2.15 is kept", a.YourIPAddr)
	}
	discover, err := dhcpv4.NewDiscovery(card)
	if err != nil {
		t.Fatal(err)
	}
	offer := exchange(t, w, discover)
	request, err := dhcpv4.NewRequestFromOffer(offer)
	if err != nil {
		t.Fatal(err)
	}
	ack := exchange(t, w, request)
	got := fmt.Sprint(ack.MessageType(), ack.YourIPAddr, net.IP(ack.SubnetMask()), ack.Router(), ack.DNS(), ack.ServerIdentifier(),
		ack.IPAddressLeaseTime(0), binary.BigEndian.Uint16(ack.Options.Get(optionIPMTU)))
	if want := "ACK 10.0.2.15 255.255.255.0 [10.0.2.2] [10.0.2.3] 10.0.2.2 24h0m0s 4000"; got != want {
		t.Errorf("lease %s\nwant  %s", got, want)
	}
	request.UpdateOption(dhcpv4.OptRequestedIPAddress(net.IPv4(10, 0, 2, 99)))
	if a := exchange(t, w, request); a.MessageType() != dhcpv4.MessageTypeNak {
		t.Errorf("a request for another address got %v", a.MessageType())
	}
	for i := range byte(20) {
		m, _ := dhcpv4.NewDiscovery(net.HardwareAddr{2, 0, 0, 0, 1, i})
		n.answerDHCP(m.ToBytes())
	}
	if n.drops.Load(backend.DropLimit) != 20-(maxLeases-2) {
		t.Errorf("drops %v; there are %d leases", n.drops.ByReason(), maxLeases)
	}
}
