package netserve

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
)

// HostName is what a guest finds the host by, wherever its addresses come from Guests or from doorbell's user-mode networking.
const HostName = "host.doorbell"

const (
	maxGuests = 16 // hardware addresses that get an address
	dnsPort   = 53
)

// Guests serves the guests on an interface: DHCP, and DNS for HostName.
type Guests struct {
	dhcp *DHCPServer
	dns  *DNSServer
}

// ServeGuests starts to answer on an interface that is up and has the address host, which becomes gateway and name server. Who asks first is told that
// it is the address after that; others follow.
func ServeGuests(name string, host netip.Prefix) (*Guests, error) {
	g := &Guests{}
	var err error
	if g.dns, err = ServeDNS(net.JoinHostPort(host.Addr().String(), strconv.Itoa(dnsPort)), map[string]netip.Addr{HostName: host.Addr()}); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	g.dhcp, err = ServeDHCP(DHCPConfig{
		Interface: name, Server: host, First: host.Addr().Next(), Count: maxGuests, Gateway: host.Addr(), DNS: []netip.Addr{host.Addr()},
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), g.dns.Close())
	}
	return g, nil
}

// Close ends both servers.
func (g *Guests) Close() error { return errors.Join(g.dhcp.Close(), g.dns.Close()) }
