package netserve

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/server4"
)

// DHCPConfig is what the server gives away.
type DHCPConfig struct {
	// Interface is where it answers; Server is its own address there.
	Interface string
	Server    netip.Prefix
	// First is the first address that is given; as many follow as there are clients, up to Count.
	First netip.Addr
	Count int
	// Gateway, DNS, Domain and MTU are given where they are set.
	Gateway netip.Addr
	DNS     []netip.Addr
	Domain  string
	MTU     uint16
}

// leaseTime outlives any test.
const leaseTime = time.Hour

// A DHCPServer gives addresses, each to one hardware address for as long as it runs.
type DHCPServer struct {
	config DHCPConfig
	conn   net.PacketConn
	done   chan struct{}

	mu    sync.Mutex // guards what follows
	owner []string   // by distance from First
}

// ServeDHCP starts a server. The interface must be up and have the server's address.
func ServeDHCP(c DHCPConfig) (*DHCPServer, error) {
	if !c.Server.Addr().Is4() || !c.First.Is4() || c.Count < 1 {
		return nil, fmt.Errorf("DHCP server on %s: needs an address of its own and at least one to give", c.Interface)
	}
	conn, err := server4.NewIPv4UDPConn(c.Interface, &net.UDPAddr{IP: net.IPv4zero, Port: dhcpv4.ServerPort})
	if err != nil {
		return nil, fmt.Errorf("DHCP server on %s: %w", c.Interface, err)
	}
	s := &DHCPServer{config: c, conn: conn, done: make(chan struct{})}
	go s.serve()
	return s, nil
}

// Close ends the server.
func (s *DHCPServer) Close() error {
	err := s.conn.Close()
	<-s.done
	return err
}

func (s *DHCPServer) serve() {
	defer close(s.done)
	buffer := make([]byte, 1500)
	for {
		n, _, err := s.conn.ReadFrom(buffer)
		if err != nil {
			return // closed
		}
		if reply := s.answer(buffer[:n]); reply != nil {
			// A client without an address hears broadcasts only. What is lost is asked for again.
			_, _ = s.conn.WriteTo(reply.ToBytes(), &net.UDPAddr{IP: net.IPv4bcast, Port: dhcpv4.ClientPort})
		}
	}
}

// answer is the reply to a message, or nil.
func (s *DHCPServer) answer(b []byte) *dhcpv4.DHCPv4 {
	m, err := dhcpv4.FromBytes(b)
	if err != nil || m.OpCode != dhcpv4.OpcodeBootRequest || len(m.ClientHWAddr) != 6 {
		return nil
	}
	self := s.config.Server.Addr().AsSlice()
	if id := m.ServerIdentifier(); id != nil && !id.Equal(self) {
		return nil // for another server
	}
	given, ok := s.lease(m.ClientHWAddr)
	if !ok {
		return nil
	}
	kind := dhcpv4.MessageTypeOffer
	switch m.MessageType() {
	case dhcpv4.MessageTypeDiscover:
	case dhcpv4.MessageTypeRequest:
		kind = dhcpv4.MessageTypeAck
		if wanted := m.RequestedIPAddress(); wanted != nil && !wanted.Equal(given.AsSlice()) {
			kind = dhcpv4.MessageTypeNak
		}
	default:
		return nil
	}
	options := []dhcpv4.Modifier{dhcpv4.WithMessageType(kind), dhcpv4.WithServerIP(self), dhcpv4.WithOption(dhcpv4.OptServerIdentifier(self))}
	if kind != dhcpv4.MessageTypeNak {
		options = append(append(options, dhcpv4.WithYourIP(given.AsSlice())), s.config.options()...)
	}
	reply, err := dhcpv4.NewReplyFromRequest(m, options...)
	if err != nil {
		return nil
	}
	return reply
}

func (c *DHCPConfig) options() []dhcpv4.Modifier {
	options := []dhcpv4.Modifier{dhcpv4.WithLeaseTime(uint32(leaseTime.Seconds())), dhcpv4.WithNetmask(net.CIDRMask(c.Server.Bits(), 32))}
	if c.Gateway.IsValid() {
		options = append(options, dhcpv4.WithRouter(c.Gateway.AsSlice()))
	}
	if len(c.DNS) > 0 {
		servers := make([]net.IP, len(c.DNS))
		for i, a := range c.DNS {
			servers[i] = a.AsSlice()
		}
		options = append(options, dhcpv4.WithDNS(servers...))
	}
	if c.Domain != "" {
		options = append(options, dhcpv4.WithOption(dhcpv4.OptDomainName(c.Domain)))
	}
	if c.MTU != 0 {
		options = append(options, dhcpv4.WithOption(dhcpv4.Option{Code: dhcpv4.OptionInterfaceMTU, Value: dhcpv4.Uint16(c.MTU)}))
	}
	return options
}

// lease returns the address of a hardware address.
func (s *DHCPServer) lease(mac net.HardwareAddr) (netip.Addr, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	given := s.config.First
	for _, owner := range s.owner {
		if owner == string(mac) {
			return given, true
		}
		given = given.Next()
	}
	if len(s.owner) == s.config.Count {
		return netip.Addr{}, false
	}
	s.owner = append(s.owner, string(mac))
	return given, true
}

// Clients returns how many hardware addresses have asked.
func (s *DHCPServer) Clients() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.owner)
}
