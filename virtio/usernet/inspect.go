package usernet

import (
	"encoding/binary"
	"net/netip"

	"doorbell/virtio/backend"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// inspect decides whether a frame from the guest goes to the stack. head is the frame's beginning, with all headers; rest is what
// follows, or nil. The stack verifies no checksum afterwards, so that this is where they are: complete ones are verified, and those that the
// virtio header says are still to be computed are taken as right, for there was no wire on which the data could suffer.
func inspect(h *backend.Header, head []byte, rest []byte) (proto tcpip.NetworkProtocolNumber, why backend.Drop, ok bool) {
	size := len(head) + len(rest)
	gso := h.GSOType &^ backend.GSOECN
	switch {
	case gso == backend.GSONone:
	case gso != backend.GSOTCPv4:
		return 0, backend.DropOffload, false
	case h.Flags&backend.FlagNeedsCsum == 0 || h.GSOSize == 0:
		return 0, backend.DropMalformed, false
	}
	if h.Flags&backend.FlagNeedsCsum != 0 && int(h.CsumStart)+int(h.CsumOffset)+2 > size {
		return 0, backend.DropMalformed, false
	}
	switch proto = tcpip.NetworkProtocolNumber(binary.BigEndian.Uint16(head[12:])); proto {
	case header.ARPProtocolNumber:
		why, ok = inspectARP(head)
		return proto, why, ok && gso == backend.GSONone
	case header.IPv4ProtocolNumber:
		why, ok = inspectIPv4(h, head, rest)
		return proto, why, ok
	}
	return 0, backend.DropProtocol, false
}

// inspectARP lets pass what concerns the network's own addresses. The stack, which takes every address for its own, would answer for
// the guest's as well.
func inspectARP(head []byte) (backend.Drop, bool) {
	a := header.ARP(head[backend.EthernetLen:])
	if !a.IsValid() {
		return backend.DropMalformed, false
	}
	if target := netip.AddrFrom4([4]byte(a.ProtocolAddressTarget())); target != gatewayAddr && target != dnsAddr {
		return backend.DropUnreachable, false
	}
	return 0, true
}

func inspectIPv4(h *backend.Header, head []byte, rest []byte) (backend.Drop, bool) {
	const l2 = backend.EthernetLen
	ip := header.IPv4(head[l2:])
	if !ip.IsValid(len(ip) + len(rest)) {
		return backend.DropMalformed, false
	}
	if !ip.IsChecksumValid() {
		return backend.DropChecksum, false
	}
	dst := ip.DestinationAddress()
	if ip.SourceAddressSlice()[0] == loopbackNet || ip.DestinationAddressSlice()[0] == loopbackNet || header.IsV4MulticastAddress(dst) {
		return backend.DropUnreachable, false
	}
	l3 := int(ip.HeaderLength())
	end := l2 + int(ip.TotalLength()) // Ethernet pads short frames
	var field int                     // of the checksum in the transport header
	switch ip.TransportProtocol() {
	case header.TCPProtocolNumber:
		field = header.TCPChecksumOffset
	case header.UDPProtocolNumber:
		field = udpChecksumOffset
	default:
		return backend.DropMalformed, h.GSOType == backend.GSONone
	}
	if h.GSOType&^backend.GSOECN != backend.GSONone && (field != header.TCPChecksumOffset || ip.More() || ip.FragmentOffset() != 0) {
		return backend.DropMalformed, false
	}
	if ip.More() || ip.FragmentOffset() != 0 {
		// The sum covers all fragments; the sender cannot have left it to the device, and gets no check.
		return 0, true
	}
	l4 := l2 + l3
	if l4+field+2 > min(len(head), end) {
		return backend.DropMalformed, false
	}
	if h.Flags&backend.FlagNeedsCsum != 0 {
		if int(h.CsumStart) == l4 && int(h.CsumOffset) == field {
			return 0, true
		}
		// The sum of something within, such as a tunnel's passenger. In front of that it must not be stored: the addresses have been looked at.
		if int(h.CsumStart) < l4 || !complete(h, head, rest) {
			return backend.DropMalformed, false
		}
	}
	if ip.TransportProtocol() == header.UDPProtocolNumber && head[l4+field] == 0 && head[l4+field+1] == 0 {
		return 0, true // RFC 768: the sender computed none
	}
	sum := header.PseudoHeaderChecksum(ip.TransportProtocol(), ip.SourceAddress(), dst, uint16(end-l4))
	if sumRange(head, rest, l4, end, sum) != 0xffff {
		return backend.DropChecksum, false
	}
	return 0, true
}

// loopbackNet is the first byte of addresses that must not appear on a link (RFC 1122, 3.2.1.3).
const loopbackNet = 127

// udpChecksumOffset is where a UDP header has its checksum.
const udpChecksumOffset = 6

// sumRange adds the bytes from one offset of the frame to another to a ones' complement sum.
func sumRange(head []byte, rest []byte, from, to int, sum uint16) uint16 {
	var s checksum.Checksumer
	s.Add([]byte{byte(sum >> 8), byte(sum)})
	if from < len(head) {
		s.Add(head[from:min(to, len(head))])
	}
	if to > len(head) {
		s.Add(rest[max(from-len(head), 0) : to-len(head)])
	}
	return s.Checksum()
}

// complete computes the checksum that the header describes and stores it in the frame. It reports whether there is something to sum.
func complete(h *backend.Header, head, rest []byte) bool {
	start, size := int(h.CsumStart), len(head)+len(rest)
	if start >= size {
		return false
	}
	sum := ^sumRange(head, rest, start, size, 0)
	for i, b := range [2]byte{byte(sum >> 8), byte(sum)} {
		if at := start + int(h.CsumOffset) + i; at < len(head) {
			head[at] = b
		} else {
			rest[at-len(head)] = b
		}
	}
	return true
}
