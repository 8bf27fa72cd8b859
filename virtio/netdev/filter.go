package netdev

import (
	"encoding/binary"
	"net"
	"slices"
)

// Modes are the receive modes of class VIRTIO_NET_CTRL_RX (section 5.1.6.5.1), as bits by command.
type Modes uint8

// The modes; bit n is set by command n.
const (
	Promiscuous Modes = 1 << iota
	AllMulticast
	AllUnicast
	NoMulticast
	NoUnicast
	NoBroadcast
)

// maxAddresses is the size of each of the two address tables. One that overflows accepts all addresses of its kind.
const maxAddresses = 64

// address is an Ethernet address as a number.
type address uint64

const broadcast address = 0xffffffffffff

func addressOf(b []byte) address {
	return address(binary.BigEndian.Uint16(b))<<32 | address(binary.BigEndian.Uint32(b[2:]))
}

func (a address) bytes() net.HardwareAddr {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(a))
	return b[2:]
}

func (a address) multicast() bool { return a>>40&1 != 0 }

// table is a bounded set of addresses.
type table struct {
	sorted   []address
	overflow bool
}

func newTable(list []address, overflow bool) table {
	if overflow {
		return table{overflow: true}
	}
	list = slices.Clone(list)
	slices.Sort(list)
	return table{sorted: slices.Compact(list)}
}

func (t *table) has(a address) bool {
	if t.overflow {
		return true
	}
	_, ok := slices.BinarySearch(t.sorted, a)
	return ok
}

// vlans is the VLAN filter table: one bit for each identifier.
type vlans [4096 / 64]uint64

func (v *vlans) has(id uint16) bool { return v[id/64]>>(id%64)&1 != 0 }

func (v *vlans) list() (ids []uint16) {
	for id := range uint16(4096) {
		if v.has(id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// filter is what the driver wants to receive. It does not change once receivers have it.
type filter struct {
	addresses bool // VIRTIO_NET_F_CTRL_RX: addresses are filtered
	tagged    bool // VIRTIO_NET_F_CTRL_VLAN: tags are
	mac       address
	modes     Modes
	unicast   table
	multicast table
	vlans     vlans
}

// headLen is how much of a frame filters and hashes look at.
const headLen = 96

// accepts says whether the driver wants the frame that begins with head.
func (f *filter) accepts(head []byte) bool {
	if f.modes&Promiscuous != 0 {
		return true
	}
	if len(head) < 14 {
		return false
	}
	if f.tagged && binary.BigEndian.Uint16(head[12:]) == 0x8100 && len(head) >= 16 && !f.vlans.has(binary.BigEndian.Uint16(head[14:])&0xfff) {
		return false
	}
	if !f.addresses {
		return true
	}
	switch a := addressOf(head); {
	case a == broadcast:
		return f.modes&NoBroadcast == 0
	case a.multicast():
		return f.modes&NoMulticast == 0 && (f.modes&AllMulticast != 0 || f.multicast.has(a))
	default:
		return f.modes&NoUnicast == 0 && (f.modes&AllUnicast != 0 || a == f.mac || f.unicast.has(a))
	}
}
