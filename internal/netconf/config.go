package netconf

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
)

// A Config is what a link needs to speak IPv4.
type Config struct {
	// Address is the link's own, with the length of its network's prefix.
	Address netip.Prefix
	// Gateway is the default route; invalid for none.
	Gateway netip.Addr
	// DNS are the name servers.
	DNS []netip.Addr
	// Search is the domain that short names are looked up in; empty for none.
	Search string
	// MTU is 0 to leave it.
	MTU int
}

// Limits of what a configuration may contain.
const (
	maxDNS    = 3   // MAXNS of resolv.conf(5)
	maxDomain = 253 // RFC 1035, 2.3.4, as text
	minMTU    = 68  // RFC 791
	maxMTU    = 65535
)

// check refuses what no interface may be given.
func (c Config) check() error {
	a := c.Address.Addr()
	switch {
	case !c.Address.IsValid() || !a.Is4():
		return errors.New("no IPv4 address")
	case a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return fmt.Errorf("%v is no address for an interface", a)
	case c.Address.Bits() == 0:
		return fmt.Errorf("%v has no network", c.Address)
	case c.Gateway.IsValid() && (!c.Gateway.Is4() || c.Gateway.IsUnspecified() || c.Gateway.IsMulticast() || c.Gateway == a):
		return fmt.Errorf("%v is no gateway for %v", c.Gateway, c.Address)
	case c.MTU != 0 && (c.MTU < minMTU || c.MTU > maxMTU):
		return fmt.Errorf("MTU %d is not between %d and %d", c.MTU, minMTU, maxMTU)
	}
	return nil
}

// Apply gives a link its address, default route and MTU. It must be up. Name servers are WriteResolvConf's.
func Apply(name string, c Config) error {
	if err := c.check(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	l, err := byName(name)
	if err != nil {
		return err
	}
	if c.MTU != 0 && c.MTU != l.Attrs().MTU {
		if err := SetMTU(name, c.MTU); err != nil {
			return err
		}
	}
	network := &net.IPNet{IP: c.Address.Addr().AsSlice(), Mask: net.CIDRMask(c.Address.Bits(), 32)}
	if err := netlink.AddrReplace(l, &netlink.Addr{IPNet: network}); err != nil {
		return fmt.Errorf("%s: set address %v: %w", name, c.Address, err)
	}
	if !c.Gateway.IsValid() {
		return nil
	}
	route := &netlink.Route{LinkIndex: l.Attrs().Index, Gw: c.Gateway.AsSlice(), Dst: &net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}}
	if !c.Address.Masked().Contains(c.Gateway) {
		route.Flags = int(netlink.FLAG_ONLINK) // a gateway beyond a network of one address
	}
	if err := netlink.RouteReplace(route); err != nil {
		return fmt.Errorf("%s: set gateway %v: %w", name, c.Gateway, err)
	}
	return nil
}

// WriteResolvConf tells the machine's programs whom to ask for names (resolv.conf(5)).
func WriteResolvConf(path string, c Config) error {
	var b strings.Builder
	if c.Search != "" {
		fmt.Fprintf(&b, "search %s\n", c.Search)
	}
	for _, a := range c.DNS {
		fmt.Fprintf(&b, "nameserver %v\n", a)
	}
	return os.WriteFile(path, []byte(b.String()), 0o644)
}

// ParseStatic reads ADDRESS/LENGTH[,GATEWAY[,DNS]].
func ParseStatic(s string) (Config, error) {
	parts := strings.Split(s, ",")
	if len(parts) > 3 {
		return Config{}, fmt.Errorf("%.60q has more than an address, a gateway and a name server", s)
	}
	var c Config
	var err error
	if c.Address, err = netip.ParsePrefix(parts[0]); err != nil {
		return Config{}, fmt.Errorf("%.60q is not ADDRESS/LENGTH", parts[0])
	}
	if len(parts) > 1 && parts[1] != "" {
		if c.Gateway, err = netip.ParseAddr(parts[1]); err != nil {
			return Config{}, fmt.Errorf("gateway %.60q is not an address", parts[1])
		}
	}
	if len(parts) > 2 {
		server, err := netip.ParseAddr(parts[2])
		if err != nil {
			return Config{}, fmt.Errorf("name server %.60q is not an address", parts[2])
		}
		c.DNS = []netip.Addr{server}
	}
	return c, c.check()
}
