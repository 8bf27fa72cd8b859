package usernet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
)

func sameports(t testing.TB) (net.PacketConn, net.Listener) {
	t.Helper()
	for {
		u, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", u.LocalAddr().String())
		if err == nil {
			return u, l
		}
		u.Close() // somebody has the other one; take another number
		if !errors.Is(err, unix.EADDRINUSE) {
			t.Fatal(err)
		}
	}
}

func upstream(t testing.TB) (resolvConf string) {
	t.Helper()
	answer := func(query []byte, transport string) []byte {
		var m dnsmessage.Message
		if m.Unpack(query) != nil {
			return nil
		}
		m.Response = true
		q := m.Questions[0]
		if q.Name.String() == "www.example.org." {
			m.Answers = []dnsmessage.Resource{
				{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 1}, Body: &dnsmessage.AResource{A: [4]byte{192, 0, 2, 7}}},
				{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 1}, Body: &dnsmessage.TXTResource{TXT: []string{transport}}},
			}
		} else {
			m.RCode = dnsmessage.RCodeNameError
		}
		b, _ := m.Pack()
		return b
	}
	u, l := sameports(t)
	t.Cleanup(func() { u.Close(); l.Close() })
	go func() {
		buf := make([]byte, 4096)
		for {
			size, from, err := u.ReadFrom(buf)
			if err != nil {
				return
			}
			u.WriteTo([]byte("nonsense that must be passed over"), from)
			u.WriteTo(answer(buf[:size], "udp"), from)
		}
	}()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if q, err := readMessage(c); err == nil {
				writeMessage(c, answer(q, "tcp"))
			}
			c.Close()
		}
	}()
	path := filepath.Join(t.TempDir(), "resolv.conf")
	// The first server is not there: the next one is asked.
	if err := os.WriteFile(path, []byte("search example.org\nnameserver 127.0.0.1:1\nnameserver "+u.LocalAddr().String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func resolve(t testing.TB, g *guest, transport, name string, kind dnsmessage.Type) string {
	t.Helper()
	q := dnsmessage.Message{Header: dnsmessage.Header{ID: 77, RecursionDesired: true}, Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: kind, Class: dnsmessage.ClassINET}}}
	b, err := q.Pack()
	if err != nil {
		t.Fatal(err)
	}
	var a []byte
	if transport == "udp" {
		to := at(dnsAddr, 53)
		c, err := gonet.DialUDP(g.stack, nil, &to, protocolIPv4)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(20 * time.Second))
		c.Write(b)
		a = make([]byte, 4096)
		size, err := c.Read(a)
		if err != nil {
			t.Fatal(err)
		}
		a = a[:size]
	} else {
		c := dial(t, g, dnsAddr, 53)
		defer c.Close()
		writeMessage(c, b)
		if a, err = readMessage(c); err != nil {
			t.Fatal(err)
		}
	}
	var m dnsmessage.Message
	if err := m.Unpack(a); err != nil {
		t.Fatal(err)
	}
	s := fmt.Sprint(m.ID, " ", m.RCode)
	for _, r := range m.Answers {
		switch b := r.Body.(type) {
		case *dnsmessage.AResource:
			s += " " + netip.AddrFrom4(b.A).String()
		case *dnsmessage.TXTResource:
			s += " " + b.TXT[0]
		}
	}
	return s
}

func TestDNS(t *testing.T) {
	n := newNetwork(t, Config{Resolver: upstream(t)})
	g := newGuest(t, n, offloads, false)
	defer g.close()
	for _, c := range []struct {
		transport, name string
		kind            dnsmessage.Type
		want            string
	}{
		{"udp", "www.example.org.", dnsmessage.TypeA, "77 RCodeSuccess 192.0.2.7 udp"},
		{"tcp", "www.example.org.", dnsmessage.TypeA, "77 RCodeSuccess 192.0.2.7 tcp"},
		{"udp", "absent.example.org.", dnsmessage.TypeA, "77 RCodeNameError"},
		{"udp", "host.doorbell.", dnsmessage.TypeA, "77 RCodeSuccess 10.0.2.2"},
		{"tcp", "Gateway.Doorbell.", dnsmessage.TypeA, "77 RCodeSuccess 10.0.2.2"},
		{"udp", "gateway.doorbell.", dnsmessage.TypeAAAA, "77 RCodeSuccess"},
	} {
		if got := resolve(t, g, c.transport, c.name, c.kind); got != c.want {
			t.Errorf("%s %s %v: %s, want %s", c.transport, c.name, c.kind, got, c.want)
		}
	}
	if err := os.Remove(n.cfg.Resolver); err != nil {
		t.Fatal(err)
	}
	none := newNetwork(t, Config{Resolver: n.cfg.Resolver})
	h := newGuest(t, none, 0, false)
	defer h.close()
	if got := resolve(t, h, "udp", "www.example.org.", dnsmessage.TypeA); got != "77 RCodeServerFailure" {
		t.Errorf("without a name server: %s", got)
	}
}
