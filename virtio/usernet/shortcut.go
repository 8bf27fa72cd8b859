package usernet

import (
	"net/netip"

	"doorbell/virtio/backend"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// shortcut is the flow of a queue's last datagrams. The next one of the same flow, as most are, needs neither the stack nor a look into the
// table of flows. It is the transmitting goroutine's own.
type shortcut struct {
	key  [shortcutKey]byte // addresses and ports as a frame has them
	flow *flow             // nil: none
}

// Where a frame with an IPv4 header without options has its addresses and ports, which are next to each other, and its UDP payload.
const (
	addressesAt = backend.EthernetLen + 12
	portsAt     = backend.EthernetLen + header.IPv4MinimumSize
	shortcutKey = 12
	payloadAt   = portsAt + header.UDPMinimumSize
)

// plainUDP returns the datagram in a frame that inspect has passed, if it is one that is whole, without options, and addressed to the gateway's
// hardware address.
func plainUDP(head []byte, link string) (payload []byte, ok bool) {
	if len(head) < payloadAt || string(head[:6]) != link || head[12] != 8 || head[13] != 0 {
		return nil, false
	}
	ip := header.IPv4(head[backend.EthernetLen:])
	if head[backend.EthernetLen] != 0x45 || ip.Protocol() != uint8(header.UDPProtocolNumber) || ip.More() || ip.FragmentOffset() != 0 {
		return nil, false
	}
	size := int(header.UDP(head[portsAt:]).Length())
	if end := portsAt + size; size < header.UDPMinimumSize || int(ip.TotalLength()) != header.IPv4MinimumSize+size || end > len(head) {
		return nil, false
	}
	return head[payloadAt : portsAt+size], true
}

// send sends a datagram, whose frame starts with head, to the host if its flow is known. Its errors are counted as those of the long way.
func (s *shortcut) send(n *Network, head, payload []byte) bool {
	key := [shortcutKey]byte(head[addressesAt:])
	if s.flow == nil || s.key != key || s.flow.ended.Load() {
		s.key = key
		s.flow = n.udp.find(flowKey{
			guest:  netip.AddrPortFrom(netip.AddrFrom4([4]byte(key[0:])), header.UDP(key[8:]).SourcePort()),
			remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte(key[4:])), header.UDP(key[8:]).DestinationPort()),
		})
		if s.flow == nil {
			return false
		}
	}
	n.sendUDP(s.flow, payload)
	return true
}
