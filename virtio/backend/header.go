package backend

import "encoding/binary"

// HeaderLen is sizeof(struct virtio_net_hdr) of a device with VIRTIO_F_VERSION_1, without a hash report. A device with
// VIRTIO_NET_F_HASH_REPORT leaves the eight bytes behind it out of the lists that it hands over.
const HeaderLen = 12

// Header is struct virtio_net_hdr (virtio 1.2, 5.1.6).
type Header struct {
	Flags      uint8
	GSOType    uint8
	HdrLen     uint16 // a hint: bytes of all headers
	GSOSize    uint16 // bytes of payload in each segment
	CsumStart  uint16 // where, in the frame, summing starts
	CsumOffset uint16 // where, after CsumStart, the sum belongs
	NumBuffers uint16
}

// Bits of Header.Flags.
const (
	FlagNeedsCsum = 1 // VIRTIO_NET_HDR_F_NEEDS_CSUM
	FlagDataValid = 2 // VIRTIO_NET_HDR_F_DATA_VALID
)

// Values of Header.GSOType. GSOECN is a bit beside the value.
const (
	GSONone  = 0    // VIRTIO_NET_HDR_GSO_NONE
	GSOTCPv4 = 1    // VIRTIO_NET_HDR_GSO_TCPV4
	GSOTCPv6 = 4    // VIRTIO_NET_HDR_GSO_TCPV6
	GSOUDPL4 = 5    // VIRTIO_NET_HDR_GSO_UDP_L4
	GSOECN   = 0x80 // VIRTIO_NET_HDR_GSO_ECN
)

// Put encodes the header.
func (h *Header) Put(b *[HeaderLen]byte) {
	b[0], b[1] = h.Flags, h.GSOType
	binary.LittleEndian.PutUint16(b[2:], h.HdrLen)
	binary.LittleEndian.PutUint16(b[4:], h.GSOSize)
	binary.LittleEndian.PutUint16(b[6:], h.CsumStart)
	binary.LittleEndian.PutUint16(b[8:], h.CsumOffset)
	binary.LittleEndian.PutUint16(b[10:], h.NumBuffers)
}

// Get decodes a header.
func (h *Header) Get(b *[HeaderLen]byte) {
	*h = Header{
		Flags: b[0], GSOType: b[1],
		HdrLen:     binary.LittleEndian.Uint16(b[2:]),
		GSOSize:    binary.LittleEndian.Uint16(b[4:]),
		CsumStart:  binary.LittleEndian.Uint16(b[6:]),
		CsumOffset: binary.LittleEndian.Uint16(b[8:]),
		NumBuffers: binary.LittleEndian.Uint16(b[10:]),
	}
}
