package loop

import (
	"encoding/binary"

	"doorbell/virtio/backend"
)

// Offsets in a generated frame.
const (
	ipAt     = backend.EthernetLen
	udpAt    = ipAt + 20
	numberAt = headersLen
)

// firstPort is the source port of flow 0.
const firstPort = 1024

// frame is a generated frame without flow and number: a datagram from 192.0.2.1 to 192.0.2.2, the addresses of documentation (RFC 5737),
// without a UDP checksum.
func (l *Loop) frame() []byte {
	f := make([]byte, l.cfg.Size)
	copy(f, l.cfg.MAC)
	copy(f[6:], []byte{2, 0, 0, 0, 0, 1})
	binary.BigEndian.PutUint16(f[12:], 0x0800)
	ip := f[ipAt:udpAt]
	copy(ip, []byte{0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2})
	binary.BigEndian.PutUint16(ip[2:], uint16(len(f)-ipAt))
	var sum uint32
	for i := 0; i < len(ip); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(ip[i:]))
	}
	sum = sum>>16 + sum&0xffff
	binary.BigEndian.PutUint16(ip[10:], ^uint16(sum+sum>>16))
	binary.BigEndian.PutUint16(f[udpAt+2:], 9) // discard
	binary.BigEndian.PutUint16(f[udpAt+4:], uint16(len(f)-udpAt))
	return f
}

func setFlow(frame []byte, flow uint16) {
	binary.BigEndian.PutUint16(frame[udpAt:], firstPort+flow)
}

// Number is the number that a generated frame carries, counted from 0 on its queue; the gaps are what was dropped. frame is without its
// virtio header.
func Number(frame []byte) (number uint64, ok bool) {
	if len(frame) < MinSize {
		return 0, false
	}
	return binary.BigEndian.Uint64(frame[numberAt:]), true
}
