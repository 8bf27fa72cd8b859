package usernet

import (
	"net"
	"net/netip"
	"testing"

	"doorbell/virtio/backend"
)

// Datagrams of a known flow arrive whole and in order, whichever way they take; what is not a plain datagram to the gateway takes the long way.
func TestShortcut(t *testing.T) {
	n := newNetwork(t, Config{Queues: 2})
	host, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	to := host.LocalAddr().(*net.UDPAddr).Port
	q := n.link.queues[1]
	send := func(frame []byte) {
		t.Helper()
		var raw [backend.HeaderLen]byte
		q.Transmit([][]byte{raw[:], frame})
	}
	got := make([]byte, 2048)
	expect := func(want string) (from netip.AddrPort) {
		t.Helper()
		m, from, err := host.ReadFromUDPAddrPort(got)
		if err != nil || string(got[:m]) != want {
			t.Fatalf("%q, %v; want %q", got[:m], err, want)
		}
		return from
	}
	udp := func(port int, payload string) []byte {
		return udpFrame(guestAddr, port, gatewayAddr, to, []byte(payload))
	}

	send(udp(1000, "first"))
	port := expect("first")
	if q.shortcut.flow != nil {
		t.Error("a flow was known before there was one")
	}
	send(udp(1000, "second"))
	if expect("second") != port || q.shortcut.flow == nil {
		t.Errorf("the second datagram's flow is %v", q.shortcut.flow)
	}
	send(append(udp(1000, ""), make([]byte, 18)...)) // Ethernet's padding is not data
	expect("")
	send(udp(1001, "other"))
	other := expect("other")
	send(udp(1001, "other again"))
	if got := expect("other again"); got != other || other == port {
		t.Errorf("from %v, %v before; the first flow's is %v", got, other, port)
	}

	// The flow ends behind the queue's back: the next datagram makes another.
	f := q.shortcut.flow
	n.udp.remove(f)
	send(udp(1001, "new flow"))
	expect("new flow")
	if q.shortcut.flow == f {
		t.Error("a flow that has ended is still used")
	}

	corrupt := udp(1001, "corrupt")
	corrupt[len(corrupt)-1]++
	send(corrupt)
	foreign := udp(1001, "to another hardware address")
	foreign[5]++
	send(foreign) // there is nobody else on the cable
	expect("to another hardware address")
	send(udp(1001, "last"))
	expect("last")
	if q.counters.Drops().Load(backend.DropChecksum) != 1 {
		t.Errorf("drops: %v", q.counters.Drops().ByReason())
	}
	if q.link.flows.queue(udpFrame(gatewayAddr, to, guestAddr, 1001, nil)) != 1 {
		t.Error("answers would go to another queue")
	}
}
