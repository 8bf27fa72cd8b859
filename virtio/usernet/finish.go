package usernet

import (
	"encoding/binary"

	"doorbell/virtio/backend"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// patches are fields to store in the guest's copy of a frame. The packet itself may share its memory with the stack's own copy, kept
// for a retransmission, and stays as it is.
type patches struct {
	sum, window patch
}

// patch is a 16-bit field in network order. at is its place in the frame, 0 for none.
type patch struct {
	at    int
	value uint16
}

// apply stores the field in a frame behind its virtio header.
func (p patch) apply(bufs [][]byte) {
	if p.at != 0 {
		b := [2]byte{byte(p.value >> 8), byte(p.value)}
		backend.Scatter(bufs, backend.HeaderLen+p.at, b[:])
	}
}

// windowUnit is the coarseness of the windows that the stack advertises: 1 shifted by the window scale for largeTCPBuffer.
const windowUnit = 128

// narrow is what the guest is told when the stack advertises a window: one unit less.
//
// The stack rounds a window down to the unit whenever it tells it, so that the right edge which the guest has seen can move back by a
// fraction of a unit. A guest may have filled the window by then. The stack would refuse the end of that, and with it every
// acknowledgment that the guest sends from there on; where its application waits for the other direction, both wait forever. With
// an edge one unit lower the guest never gets into that fraction.
func narrow(tcp header.TCP) uint16 {
	w := tcp.WindowSize()
	if tcp.Flags()&header.TCPFlagSyn != 0 {
		return w - min(w, windowUnit) // not scaled yet (RFC 7323, 2.2)
	}
	return w - min(w, 1)
}

// finish does for a packet to the guest what the stack left to the link: the transport checksum, or the header that leaves it to the
// guest, and the header that asks for segmentation. It reports whether the driver's offloads allow the packet.
func finish(h *backend.Header, p *stack.PacketBuffer, offloads backend.Offloads) (patches, bool) {
	h.NumBuffers = 1
	if p.NetworkProtocolNumber != header.IPv4ProtocolNumber {
		return patches{}, true
	}
	ip := header.IPv4(p.NetworkHeader().Slice())
	l4 := p.TransportHeader().Slice()
	if len(ip) < header.IPv4MinimumSize || ip.More() || ip.FragmentOffset() != 0 {
		return patches{}, true // a fragment of a UDP datagram, whose zero checksum says that there is none
	}
	var field int
	switch {
	case ip.TransportProtocol() == header.TCPProtocolNumber && len(l4) >= header.TCPMinimumSize:
		field = header.TCPChecksumOffset
	case ip.TransportProtocol() == header.UDPProtocolNumber && len(l4) >= header.UDPMinimumSize:
		field = udpChecksumOffset
	default:
		return patches{}, true
	}
	start := backend.EthernetLen + len(ip)
	data := p.Data()
	if p.GSOOptions.Type == stack.GSOTCPv4 && data.Size() > int(p.GSOOptions.MSS) {
		if offloads&backend.TSO4 == 0 {
			return patches{}, false
		}
		h.GSOType = backend.GSOTCPv4
		h.GSOSize = p.GSOOptions.MSS
		h.HdrLen = uint16(start + len(l4))
	}
	var out patches
	sum := header.PseudoHeaderChecksum(ip.TransportProtocol(), ip.SourceAddress(), ip.DestinationAddress(), uint16(len(l4)+data.Size()))
	if field == header.TCPChecksumOffset {
		out.window = patch{start + header.TCPWinSizeOffset, narrow(l4)}
	}
	if offloads&backend.Checksum != 0 {
		h.Flags = backend.FlagNeedsCsum
		h.CsumStart, h.CsumOffset = uint16(start), uint16(field)
		out.sum = patch{start + field, sum}
		return out, true
	}
	// The sum of the header as the guest gets it, in which the field itself counts as zero.
	var copied [header.TCPHeaderMaximumSize]byte
	hdr := copied[:copy(copied[:], l4)]
	if out.window.at != 0 {
		binary.BigEndian.PutUint16(hdr[out.window.at-start:], out.window.value)
	}
	binary.BigEndian.PutUint16(hdr[field:], 0)
	sum = ^checksum.Combine(checksum.Checksum(hdr, sum), data.Checksum())
	if sum == 0 && field == udpChecksumOffset {
		sum = 0xffff // RFC 768: zero means that there is none
	}
	out.sum = patch{start + field, sum}
	return out, true
}
