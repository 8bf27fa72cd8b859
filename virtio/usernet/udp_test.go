package usernet

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"doorbell/virtio/backend"

	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
)

func echoUDP(t testing.TB) net.Addr {
	t.Helper()
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go serveEchoes(c, "")
	return c.LocalAddr()
}

// serveEchoes answers datagrams with what they say, behind a prefix, until c is closed.
func serveEchoes(c net.PacketConn, prefix string) {
	buf := make([]byte, 65536)
	for {
		size, from, err := c.ReadFrom(buf)
		if err != nil {
			return
		}
		c.WriteTo(append([]byte(prefix), buf[:size]...), from)
	}
}

// echoesInGuest serves echoes on a port of the guest.
func echoesInGuest(t testing.TB, g *guest, port int, prefix string) {
	t.Helper()
	local := at(guestAddr, port)
	u, err := gonet.DialUDP(g.stack, &local, nil, protocolIPv4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close() })
	go serveEchoes(u, prefix)
}

func TestUDPEcho(t *testing.T) {
	for _, v := range variants[:2] {
		t.Run(v.name, func(t *testing.T) {
			n := newNetwork(t, Config{})
			g := newGuest(t, n, v.offloads, false)
			defer g.close()
			to := at(gatewayAddr, port(echoUDP(t)))
			c, err := gonet.DialUDP(g.stack, nil, &to, protocolIPv4)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(20 * time.Second))
			for _, size := range []int{0, 1, 1472, 1473, 9000, 60000} {
				p := make([]byte, size)
				io.ReadFull(random(int64(size)), p)
				if _, err := c.Write(p); err != nil {
					t.Fatalf("%d bytes: %v", size, err)
				}
				buf := make([]byte, 65536)
				got, err := c.Read(buf)
				if err != nil || !bytes.Equal(buf[:got], p) {
					t.Fatalf("%d bytes came back as %d: %v; drops %v %v", size, got, err, n.Queue(0).Counters().Drops().ByReason(), n.Drops().ByReason())
				}
			}
			if n.udp.len() != 1 {
				t.Errorf("%d flows", n.udp.len())
			}
			n.udp.expire(time.Now().Add(time.Hour))
			if n.udp.len() != 0 {
				t.Errorf("%d flows after an hour", n.udp.len())
			}
			c.Write([]byte("again"))
			if got, err := c.Read(make([]byte, 10)); err != nil || got != 5 {
				t.Errorf("after the flow expired: %d bytes, %v", got, err)
			}
		})
	}
}

func TestUDPFlowLimit(t *testing.T) {
	n := newNetwork(t, Config{Limits: Limits{UDP: 3}})
	w := newWire(t, n)
	addr := echoUDP(t)
	for i := range 5 {
		w.send(udpFrame(guestAddr, 2000+i, gatewayAddr, port(addr), []byte("x")))
	}
	if n.udp.len() != 3 || n.drops.Load(backend.DropLimit) != 2 {
		t.Errorf("%d flows, drops %v", n.udp.len(), n.drops.ByReason())
	}
	w.send(udpFrame(guestAddr, 2000, netip.MustParseAddr("224.0.0.251"), 5353, []byte("x")))
	if d := w.q.Counters().Drops(); d.Load(backend.DropUnreachable) != 1 {
		t.Errorf("multicast: drops %v", d.ByReason())
	}
}
