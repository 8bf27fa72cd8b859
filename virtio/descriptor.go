package virtio

import "encoding/binary"

// Descriptor flags (sections 2.7.5 and 2.8.1).
const (
	descNext     = 1 << 0
	descWrite    = 1 << 1
	descIndirect = 1 << 2
	descAvail    = 1 << 7  // packed rings
	descUsed     = 1 << 15 // packed rings
)

// descSize is the size of a descriptor of either kind of ring.
const descSize = 16

// descriptor is a copy of one: what the guest does to the original later does not matter any more.
type descriptor struct {
	addr   uint64
	length uint32
	flags  uint16
	id     uint16 // split: next; packed: buffer id
}

// readSplit reads struct virtq_desc {le64 addr; le32 len; le16 flags; le16 next}.
func readSplit(b []byte) descriptor {
	b = b[:descSize]
	tail := binary.LittleEndian.Uint64(b[8:])
	return descriptor{binary.LittleEndian.Uint64(b), uint32(tail), uint16(tail >> 32), uint16(tail >> 48)}
}

// readPacked reads struct pvirtq_desc {le64 addr; le32 len; le16 id; le16 flags}.
func readPacked(b []byte) descriptor {
	b = b[:descSize]
	tail := binary.LittleEndian.Uint64(b[8:])
	return descriptor{binary.LittleEndian.Uint64(b), uint32(tail), uint16(tail >> 48), uint16(tail >> 32)}
}
