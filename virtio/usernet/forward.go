package usernet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"

	"doorbell/virtio/backend"

	"golang.org/x/sys/unix"
)

// Forward is a port of the host that leads to the guest.
type Forward struct {
	Network string         // "tcp" or "udp"
	Host    netip.AddrPort // where to listen; port 0 lets the host choose
	Guest   netip.AddrPort // where to connect
}

// String is the forward as ParseForward takes it.
func (f Forward) String() string { return fmt.Sprintf("%s:%s-%s", f.Network, f.Host, f.Guest) }

// ParseForward takes what follows hostfwd= on the command line: [tcp|udp]:[hostaddr]:hostport-[guestaddr]:guestport. Without a
// host's address it is 127.0.0.1, so that nobody else can connect; without a guest's it is 10.0.2.15.
func ParseForward(s string) (Forward, error) {
	bad := func(why string) (Forward, error) {
		return Forward{}, fmt.Errorf("hostfwd %q: %s; want tcp:127.0.0.1:8080-:80", s, why)
	}
	network, rest, ok := strings.Cut(s, ":")
	if network == "" {
		network = "tcp"
	}
	if !ok || network != "tcp" && network != "udp" {
		return bad("it must start with tcp: or udp:")
	}
	host, guest, ok := strings.Cut(rest, "-")
	if !ok {
		return bad("there is no - between the host's and the guest's port")
	}
	h, err := parseEnd(host, netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	if err != nil {
		return bad("host " + err.Error())
	}
	g, err := parseEnd(guest, guestAddr)
	switch {
	case err != nil:
		return bad("guest " + err.Error())
	case g.Port() == 0:
		return bad("the guest's port is 0")
	case !networkPrefix.Contains(g.Addr()):
		return bad(fmt.Sprintf("the guest's address is not in %v", networkPrefix))
	}
	return Forward{Network: network, Host: h, Guest: g}, nil
}

// parseEnd takes [address]:port.
func parseEnd(s string, missing netip.Addr) (netip.AddrPort, error) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return netip.AddrPort{}, fmt.Errorf("end %q has no port", s)
	}
	port, err := strconv.ParseUint(s[i+1:], 10, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("port %q is not a number up to 65535", s[i+1:])
	}
	a := missing
	if text := strings.Trim(s[:i], "[]"); text != "" {
		if a, err = netip.ParseAddr(text); err != nil {
			return netip.AddrPort{}, fmt.Errorf("address %q is not an IP address", text)
		}
	}
	return netip.AddrPortFrom(a, uint16(port)), nil
}

// listener is a forwarded port that is open.
type listener struct {
	forward Forward
	tcp     *net.TCPListener
	udp     *net.UDPConn
	next    uint16 // the gateway's port for the next client of a UDP forward
}

func (l *listener) close() {
	if l.tcp != nil {
		_ = l.tcp.Close()
	}
	if l.udp != nil {
		_ = l.udp.Close()
	}
}

// family keeps 0.0.0.0 to IPv4: Go would listen for IPv6 as well. [::] is for both.
func family(a netip.Addr) string {
	if a.Is4() {
		return "4"
	}
	return ""
}

// startForwards opens all ports before any is served.
func (n *Network) startForwards() error {
	for _, f := range n.cfg.Forwards {
		l := &listener{forward: f, next: firstEphemeral}
		var err error
		switch f.Network {
		case "tcp":
			l.tcp, err = net.ListenTCP("tcp"+family(f.Host.Addr()), net.TCPAddrFromAddrPort(f.Host))
		case "udp":
			l.udp, err = net.ListenUDP("udp"+family(f.Host.Addr()), net.UDPAddrFromAddrPort(f.Host))
		default:
			err = fmt.Errorf("network %q is neither tcp nor udp", f.Network)
		}
		if err != nil {
			return forwardError(f, err)
		}
		n.listeners = append(n.listeners, l)
	}
	for _, l := range n.listeners {
		if l.tcp != nil {
			n.tasks.start(func() { n.serveTCPForward(l) })
		} else {
			n.tasks.start(func() { n.serveUDPForward(l) })
		}
	}
	return nil
}

// forwardError says what to do about a port that cannot be opened.
func forwardError(f Forward, err error) error {
	hint := ""
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		hint = " (another program listens there; choose another port, or 0 for any)"
	case errors.Is(err, syscall.EACCES):
		hint = " (ports below net.ipv4.ip_unprivileged_port_start need a privilege; choose a higher one)"
	case errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EAFNOSUPPORT):
		hint = " (the address is not one of this host's)"
	}
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	return fmt.Errorf("hostfwd %s port %s: %w%s", f.Network, f.Host, err, hint)
}

// Forwarded are the addresses of the host's open ports, in the order of Config.Forwards.
func (n *Network) Forwarded() []net.Addr {
	var a []net.Addr
	for _, l := range n.listeners {
		if l.tcp != nil {
			a = append(a, l.tcp.Addr())
		} else {
			a = append(a, l.udp.LocalAddr())
		}
	}
	return a
}

// serveTCPForward connects each client with the guest.
func (n *Network) serveTCPForward(l *listener) {
	for {
		host, err := l.tcp.AcceptTCP()
		if err != nil {
			if n.tasks.ctx.Err() != nil {
				return
			}
			// Out of descriptors, or a client that is gone already: the next one may do better.
			n.drops.Add(backend.DropHost)
			if !n.pause() {
				return
			}
			continue
		}
		large, ok := n.tcp.reserve()
		if !ok {
			n.drops.Add(backend.DropLimit)
			resetHost(host)
			continue
		}
		if !n.tasks.start(func() {
			defer n.tcp.release(large)
			guest, terr := n.dialGuest(l.forward.Guest, large)
			if terr != nil {
				n.drops.Add(backend.DropUnreachable)
				resetHost(host)
				return
			}
			n.relay(host, guest)
		}) {
			n.tcp.release(large)
			resetHost(host)
			return
		}
	}
}

// The gateway's ports that stand for the clients of UDP forwards.
const (
	firstEphemeral = 49152
	lastEphemeral  = 65535
)

// serveUDPForward gives each client a port of the gateway, so that the guest tells them apart and its answers find them.
func (n *Network) serveUDPForward(l *listener) {
	clients := map[netip.AddrPort]*flow{}
	buf := make([]byte, relayBufferLen)
	for {
		size, from, err := l.udp.ReadFromUDPAddrPort(buf)
		if err != nil {
			if n.tasks.ctx.Err() != nil {
				return
			}
			if !n.pause() {
				return
			}
			continue
		}
		f := clients[from]
		// The flow's port may be another client's by now, also one of another forward, so the table would not tell.
		if f == nil || f.ended.Load() {
			var why backend.Drop
			if f, why = n.openClient(l, from); f == nil {
				n.drops.Add(why)
				continue
			}
			// Clients whose flows have expired are forgotten before the map outgrows the flows.
			for c, f := range clients {
				if len(clients) > n.udp.limit && f.ended.Load() {
					delete(clients, c)
				}
			}
			clients[from] = f
		}
		f.touch()
		f.injectUDP(buf[:size])
	}
}

// openClient makes a flow for a client of a forward, with a port of the gateway that is free.
func (n *Network) openClient(l *listener, from netip.AddrPort) (*flow, backend.Drop) {
	for range lastEphemeral - firstEphemeral {
		k := flowKey{guest: l.forward.Guest, remote: netip.AddrPortFrom(gatewayAddr, l.next)}
		if l.next == lastEphemeral {
			l.next = firstEphemeral
		} else {
			l.next++
		}
		made := false
		f, why, ok := n.udp.add(k, func() (socket, unix.Sockaddr, error) {
			made = true
			return l.udp, sockaddr(l.udp, from), nil
		})
		if !ok {
			return nil, why
		}
		if made {
			return f, 0
		}
	}
	return nil, backend.DropLimit
}

// sockaddr is a client's address in the family of the socket on which it came.
func sockaddr(c *net.UDPConn, a netip.AddrPort) unix.Sockaddr {
	local := c.LocalAddr().(*net.UDPAddr)
	if local.IP.To4() != nil {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().Unmap().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}
