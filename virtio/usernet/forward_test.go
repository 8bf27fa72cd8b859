package usernet

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
)

// TestForwardFamily: a port of every IPv4 address is none of IPv6's; [::] is both.
func TestForwardFamily(t *testing.T) {
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skip("a host without IPv6: ", err)
	}
	l.Close()
	for _, c := range []struct {
		host, dial string
		reached    bool
	}{{"0.0.0.0:0", "127.0.0.1", true}, {"0.0.0.0:0", "::1", false}, {"[::]:0", "127.0.0.1", true}, {"[::]:0", "::1", true}} {
		n := newNetwork(t, Config{Forwards: []Forward{{"tcp", netip.MustParseAddrPort(c.host), netip.AddrPortFrom(guestAddr, 80)}}})
		conn, err := net.Dial("tcp", net.JoinHostPort(c.dial, fmt.Sprint(n.Forwarded()[0].(*net.TCPAddr).Port)))
		if err == nil {
			conn.Close()
		}
		if (err == nil) != c.reached {
			t.Errorf("%s by %s: %v", c.host, c.dial, err)
		}
	}
}

func TestForwards(t *testing.T) {
	any := netip.MustParseAddrPort("127.0.0.1:0")
	n := newNetwork(t, Config{Forwards: []Forward{
		{"tcp", any, netip.AddrPortFrom(guestAddr, 80)},
		{"udp", any, netip.AddrPortFrom(guestAddr, 81)},
		{"tcp", any, netip.AddrPortFrom(guestAddr, 82)},
	}})
	g := newGuest(t, n, offloads, false)
	defer g.close()
	l, err := gonet.ListenTCP(g.stack, at(guestAddr, 80), protocolIPv4)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				b, _ := io.ReadAll(c)
				fmt.Fprintf(c, "guest got %s", b)
			}()
		}
	}()
	echoesInGuest(t, g, 81, "guest got ")
	for range 3 {
		c, err := net.Dial("tcp", n.Forwarded()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(c, "hello")
		c.(*net.TCPConn).CloseWrite()
		if b, err := io.ReadAll(c); string(b) != "guest got hello" {
			t.Errorf("tcp: %q, %v", b, err)
		}
		c.Close()
		// Each client has its own answers.
		if c, err = net.Dial("udp", n.Forwarded()[1].String()); err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(20 * time.Second))
		io.WriteString(c, c.LocalAddr().String())
		buf := make([]byte, 100)
		size, err := c.Read(buf)
		if want := "guest got " + c.LocalAddr().String(); string(buf[:size]) != want {
			t.Errorf("udp: %q, %v, want %q", buf[:size], err, want)
		}
		c.Close()
	}
	// Nobody listens on the guest's port: the client is reset, perhaps before it has looked.
	c, err := net.Dial("tcp", n.Forwarded()[2].String())
	if err == nil {
		defer c.Close()
		_, err = io.ReadAll(c)
	}
	if !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("a port that the guest does not serve: %v, want a reset", err)
	}
}

// A client whose flow has expired does not go in as the client of another forward that has taken its port of the gateway.
func TestExpiredClientOfUDPForward(t *testing.T) {
	f := Forward{"udp", netip.MustParseAddrPort("127.0.0.1:0"), netip.AddrPortFrom(guestAddr, 81)}
	n := newNetwork(t, Config{Forwards: []Forward{f, f}})
	g := newGuest(t, n, offloads, false)
	defer g.close()
	echoesInGuest(t, g, 81, "")
	var clients [2]net.Conn
	for i, a := range n.Forwarded() {
		c, err := net.Dial("udp", a.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		clients[i] = c
	}
	for _, q := range []struct {
		client int
		text   string
	}{{0, "before"}, {1, "meanwhile"}, {0, "after"}, {1, "again"}} {
		c := clients[q.client]
		c.SetDeadline(time.Now().Add(5 * time.Second))
		io.WriteString(c, q.text)
		buf := make([]byte, 100)
		if size, err := c.Read(buf); string(buf[:size]) != q.text {
			t.Errorf("client %d got %q, %v, want %q", q.client, buf[:size], err, q.text)
		}
		if q.text == "before" {
			n.udp.expire(time.Now().Add(n.udp.idle + time.Minute))
		}
	}
}

func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	before := fds(t)
	free := Forward{"tcp", netip.MustParseAddrPort("127.0.0.1:0"), netip.AddrPortFrom(guestAddr, 80)}
	taken := Forward{"tcp", netip.MustParseAddrPort(l.Addr().String()), netip.AddrPortFrom(guestAddr, 80)}
	_, err = New(Config{Forwards: []Forward{free, taken}})
	if err == nil || !errors.Is(err, unix.EADDRINUSE) {
		t.Fatalf("%v, want an address in use", err)
	}
	want := "hostfwd tcp port " + l.Addr().String() + ": bind: address already in use (another program listens there; choose another port, or 0 for any)"
	if err.Error() != want {
		t.Errorf("%s\nwant %s", err, want)
	}
	if after := fds(t); after != before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
}

func TestParseForward(t *testing.T) {
	for in, want := range map[string]string{
		"tcp:127.0.0.1:8080-:80":   "tcp:127.0.0.1:8080-10.0.2.15:80",
		"tcp::8080-:80":            "tcp:127.0.0.1:8080-10.0.2.15:80",
		":0.0.0.0:22-10.0.2.16:22": "tcp:0.0.0.0:22-10.0.2.16:22",
		"udp:[::1]:53-:53":         "udp:[::1]:53-10.0.2.15:53",
		"":                         "must start with tcp: or udp:",
		"sctp::1-:2":               "must start with tcp: or udp:",
		"tcp:8080":                 "no - between",
		"tcp::8080-80":             "has no port",
		"tcp::x-:80":               "not a number up to 65535",
		"tcp::1-:99999":            "not a number up to 65535",
		"tcp:host:1-:2":            "not an IP address",
		"tcp::1-:0":                "the guest's port is 0",
		"tcp::1-1.1.1.1:2":         "not in 10.0.2.0/24",
	} {
		f, err := ParseForward(in)
		got := f.String()
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, want) || strings.Contains(got, "\n") {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}
