package usernet

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"doorbell/virtio/backend"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

const (
	leaseTime   = 24 * time.Hour
	maxLeases   = 8 // 10.0.2.15 to 10.0.2.22: one card, and what is bridged behind it
	maxDHCP     = 1500
	dhcpServer  = dhcpv4.ServerPort
	dhcpClient  = dhcpv4.ClientPort
	optionIPMTU = dhcpv4.GenericOptionCode(26) // RFC 2132, 5.1
)

// leases give each hardware address an address of its own, for as long as the network exists.
type leases struct {
	mu    sync.Mutex
	owner []string // hardware addresses; the index is the distance from guestAddr
	conn  *gonet.UDPConn
}

// init keeps the first lease for the device's card, if its address is known.
func (l *leases) init(card net.HardwareAddr) {
	if card != nil {
		l.owner = append(l.owner, string(card))
	}
}

// lease is the address for a hardware address, or false if there are no more.
func (l *leases) lease(mac net.HardwareAddr) (netip.Addr, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.Index(l.owner, string(mac))
	if i < 0 {
		if len(l.owner) == maxLeases {
			return netip.Addr{}, false
		}
		i = len(l.owner)
		l.owner = append(l.owner, string(mac))
	}
	a := guestAddr.As4()
	a[3] += byte(i)
	return netip.AddrFrom4(a), true
}

func (l *leases) close() {
	if l.conn != nil {
		_ = l.conn.Close()
	}
}

// bindUDP makes an endpoint of the stack on a port of the network's own.
func (n *Network) bindUDP(at tcpip.FullAddress) (*gonet.UDPConn, error) {
	wq := &waiter.Queue{}
	ep, err := n.stack.NewEndpoint(udp.ProtocolNumber, protocolIPv4, wq)
	if err != nil {
		return nil, stackError(fmt.Sprintf("udp port %d", at.Port), err)
	}
	ep.SocketOptions().SetBroadcast(true)
	if err := ep.Bind(at); err != nil {
		ep.Close()
		return nil, stackError(fmt.Sprintf("udp port %d", at.Port), err)
	}
	return gonet.NewUDPConn(wq, ep), nil
}

func (n *Network) startDHCP() error {
	c, err := n.bindUDP(tcpip.FullAddress{NIC: nic, Port: dhcpServer})
	if err != nil {
		return err
	}
	n.dhcp.conn = c
	n.tasks.start(func() {
		var buf [maxDHCP]byte
		for {
			size, _, err := c.ReadFrom(buf[:])
			if err != nil {
				return // closed
			}
			reply, to := n.answerDHCP(buf[:size])
			if reply == nil {
				continue
			}
			// A failure is a full queue: the client asks again.
			_, _ = c.WriteTo(reply.ToBytes(), to)
		}
	})
	return nil
}

// answerDHCP is the answer to a message and where it goes, or nil.
func (n *Network) answerDHCP(message []byte) (*dhcpv4.DHCPv4, *net.UDPAddr) {
	m, err := dhcpv4.FromBytes(message)
	if err != nil || m.OpCode != dhcpv4.OpcodeBootRequest || len(m.ClientHWAddr) != 6 {
		n.drops.Add(backend.DropMalformed)
		return nil, nil
	}
	if id := m.ServerIdentifier(); id != nil && !id.Equal(gatewayAddr.AsSlice()) {
		return nil, nil // an answer to another server
	}
	address, ok := n.dhcp.lease(m.ClientHWAddr)
	if !ok {
		n.drops.Add(backend.DropLimit)
		return nil, nil
	}
	options := []dhcpv4.Modifier{dhcpv4.WithServerIP(gatewayAddr.AsSlice()), dhcpv4.WithOption(dhcpv4.OptServerIdentifier(gatewayAddr.AsSlice()))}
	network := []dhcpv4.Modifier{
		dhcpv4.WithNetmask(net.CIDRMask(networkPrefix.Bits(), 32)),
		dhcpv4.WithRouter(gatewayAddr.AsSlice()),
		dhcpv4.WithDNS(dnsAddr.AsSlice()),
		dhcpv4.WithOption(dhcpv4.OptBroadcastAddress(net.IPv4(10, 0, 2, 255).To4())),
		dhcpv4.WithOption(dhcpv4.Option{Code: optionIPMTU, Value: dhcpv4.Uint16(n.cfg.MTU)}),
	}
	lease := []dhcpv4.Modifier{dhcpv4.WithYourIP(address.AsSlice()), dhcpv4.WithLeaseTime(uint32(leaseTime.Seconds()))}
	switch m.MessageType() {
	case dhcpv4.MessageTypeDiscover:
		options = append(options, dhcpv4.WithMessageType(dhcpv4.MessageTypeOffer))
		options = append(append(options, network...), lease...)
	case dhcpv4.MessageTypeRequest:
		wanted := m.RequestedIPAddress()
		if wanted == nil || wanted.IsUnspecified() {
			wanted = m.ClientIPAddr
		}
		if !wanted.Equal(address.AsSlice()) {
			options = append(options, dhcpv4.WithMessageType(dhcpv4.MessageTypeNak))
			break
		}
		options = append(options, dhcpv4.WithMessageType(dhcpv4.MessageTypeAck))
		options = append(append(options, network...), lease...)
	case dhcpv4.MessageTypeInform:
		options = append(options, dhcpv4.WithMessageType(dhcpv4.MessageTypeAck))
		options = append(options, network...)
	default: // a release or a decline has no answer, and changes nothing here
		return nil, nil
	}
	reply, err := dhcpv4.NewReplyFromRequest(m, options...)
	if err != nil {
		n.drops.Add(backend.DropMalformed)
		return nil, nil
	}
	to := net.IPv4bcast
	if c := m.ClientIPAddr; !c.IsUnspecified() && networkPrefix.Contains(netip.AddrFrom4([4]byte(c.To4()))) && !m.IsBroadcast() && reply.MessageType() != dhcpv4.MessageTypeNak {
		to = c
	}
	return reply, &net.UDPAddr{IP: to.To4(), Port: dhcpClient}
}
