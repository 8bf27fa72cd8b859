package netconf

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
	"github.com/insomniacslk/dhcp/iana"
)

// A Lease is what a DHCP server gave.
type Lease struct {
	Config
	Server   netip.Addr
	Duration time.Duration
}

// firstRetry is when the first message is sent again; the time doubles from there (RFC 2131, 4.1, starts at 4 s, which is for
// networks with more than one machine on it).
const firstRetry = time.Second

// DHCP asks for an address on a link that is up (RFC 2131), until ctx ends. The link keeps what it has; see Apply.
//
// The exchange is over a packet socket: neither the reverse-path filter nor a missing address is in its way.
func DHCP(ctx context.Context, name string) (Lease, error) {
	l, err := LinkByName(name)
	if err != nil {
		return Lease{}, err
	}
	lease, err := exchange(ctx, l)
	if err != nil {
		return Lease{}, fmt.Errorf("%s: DHCP: %w", name, err)
	}
	return lease, nil
}

func exchange(ctx context.Context, l Link) (Lease, error) {
	client, err := nclient4.New(l.Name, nclient4.WithTimeout(firstRetry), nclient4.WithRetry(-1))
	if err != nil {
		return Lease{}, err
	}
	defer client.Close()
	discover := message(l.MAC, dhcpv4.MessageTypeDiscover)
	offer, err := client.SendAndRead(ctx, client.RemoteAddr(), discover, nclient4.IsMessageType(dhcpv4.MessageTypeOffer))
	if err != nil {
		return Lease{}, fmt.Errorf("no offer: %w", err)
	}
	server, ok := address(offer.ServerIdentifier())
	if !ok {
		return Lease{}, errors.New("offer from a server without an address")
	}
	request := message(l.MAC, dhcpv4.MessageTypeRequest)
	// RFC 2131, 4.4.1: the transaction goes on.
	request.TransactionID = discover.TransactionID
	request.UpdateOption(dhcpv4.OptRequestedIPAddress(offer.YourIPAddr))
	request.UpdateOption(dhcpv4.OptServerIdentifier(offer.ServerIdentifier()))
	answer, err := client.SendAndRead(ctx, client.RemoteAddr(), request,
		nclient4.IsAll(nclient4.IsCorrectServer(server.AsSlice()), nclient4.IsMessageType(dhcpv4.MessageTypeAck, dhcpv4.MessageTypeNak)))
	if err != nil {
		return Lease{}, fmt.Errorf("no answer to the request of %v: %w", offer.YourIPAddr, err)
	}
	return parseLease(answer)
}

// message is built by hand because the library's constructors wait for the kernel's random numbers, which a machine without much
// entropy has late. A transaction's number need not be secret.
func message(mac net.HardwareAddr, kind dhcpv4.MessageType) *dhcpv4.DHCPv4 {
	m := &dhcpv4.DHCPv4{
		OpCode: dhcpv4.OpcodeBootRequest, HWType: iana.HWTypeEthernet, ClientHWAddr: mac,
		ClientIPAddr: net.IPv4zero, YourIPAddr: net.IPv4zero, ServerIPAddr: net.IPv4zero, GatewayIPAddr: net.IPv4zero,
		Options: dhcpv4.Options{},
	}
	x := rand.Uint32()
	m.TransactionID = dhcpv4.TransactionID{byte(x >> 24), byte(x >> 16), byte(x >> 8), byte(x)}
	m.SetBroadcast()
	m.UpdateOption(dhcpv4.OptMessageType(kind))
	m.UpdateOption(dhcpv4.OptMaxMessageSize(nclient4.MaxMessageSize))
	m.UpdateOption(dhcpv4.OptParameterRequestList(dhcpv4.OptionSubnetMask, dhcpv4.OptionRouter, dhcpv4.OptionDomainNameServer,
		dhcpv4.OptionDomainName, dhcpv4.OptionInterfaceMTU))
	return m
}

// parseLease takes from an answer what is there and makes sense; an answer without an address does not.
func parseLease(m *dhcpv4.DHCPv4) (Lease, error) {
	switch m.MessageType() {
	case dhcpv4.MessageTypeAck:
	case dhcpv4.MessageTypeNak:
		return Lease{}, fmt.Errorf("the server refused: %.100q", m.Message())
	default:
		return Lease{}, fmt.Errorf("the answer is a %v", m.MessageType())
	}
	var lease Lease
	a, ok := address(m.YourIPAddr)
	if !ok {
		return Lease{}, errors.New("the answer has no address")
	}
	length, err := prefixLength(m.Options.Get(dhcpv4.OptionSubnetMask), a)
	if err != nil {
		return Lease{}, err
	}
	lease.Address = netip.PrefixFrom(a, length)
	if routers := m.Router(); len(routers) > 0 {
		lease.Gateway, _ = address(routers[0])
	}
	for _, ip := range m.DNS() {
		if server, ok := address(ip); ok && len(lease.DNS) < maxDNS {
			lease.DNS = append(lease.DNS, server)
		}
	}
	if domain := strings.TrimRight(m.DomainName(), "\x00"); isDomain(domain) {
		lease.Search = domain
	}
	if mtu := m.Options.Get(dhcpv4.OptionInterfaceMTU); len(mtu) == 2 {
		lease.MTU = int(mtu[0])<<8 | int(mtu[1])
	}
	lease.Server, _ = address(m.ServerIdentifier())
	lease.Duration = m.IPAddressLeaseTime(0)
	return lease, lease.check()
}

// prefixLength is a mask's, or that of the address's class (RFC 2131 knows no other default).
func prefixLength(mask []byte, a netip.Addr) (int, error) {
	if mask == nil {
		length, _ := net.IP(a.AsSlice()).DefaultMask().Size()
		return length, nil
	}
	if len(mask) != 4 {
		return 0, fmt.Errorf("subnet mask of %d bytes", len(mask))
	}
	m := uint32(mask[0])<<24 | uint32(mask[1])<<16 | uint32(mask[2])<<8 | uint32(mask[3])
	length := bits.LeadingZeros32(^m)
	if m<<length != 0 {
		return 0, fmt.Errorf("subnet mask %v has a hole", net.IP(mask))
	}
	return length, nil
}

func address(ip net.IP) (netip.Addr, bool) {
	a, ok := netip.AddrFromSlice(ip.To4())
	return a, ok && !a.IsUnspecified()
}

// isDomain accepts letters, digits, hyphens and dots: it goes into a file that has lines.
func isDomain(s string) bool {
	if s == "" || len(s) > maxDomain {
		return false
	}
	for _, r := range s {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.') {
			return false
		}
	}
	return true
}
