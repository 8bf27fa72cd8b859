package backend

import (
	"encoding/binary"
	"fmt"
)

// Hash types (virtio 1.2, 5.1.6.4.3.1), bits of Steering.Types. Those for IPv6 extension headers are not supported.
const (
	HashIPv4  = 1 << 0 // VIRTIO_NET_RSS_HASH_TYPE_IPv4
	HashTCPv4 = 1 << 1
	HashUDPv4 = 1 << 2
	HashIPv6  = 1 << 3
	HashTCPv6 = 1 << 4
	HashUDPv6 = 1 << 5

	SupportedHashTypes = HashIPv4 | HashTCPv4 | HashUDPv4 | HashIPv6 | HashTCPv6 | HashUDPv6
)

// What a hash was made of (virtio 1.2, 5.1.6.4.3.5): values of hash_report.
const (
	ReportNone  = 0 // VIRTIO_NET_HASH_REPORT_NONE
	ReportIPv4  = 1
	ReportTCPv4 = 2
	ReportUDPv4 = 3
	ReportIPv6  = 4
	ReportTCPv6 = 5
	ReportUDPv6 = 6
)

// MaxIndirection is the longest indirection table (rss_max_indirection_table_length).
const MaxIndirection = 128

// Steering chooses a queue pair by receive-side scaling: a Toeplitz hash over the packet's addresses and ports, whose low bits
// select an entry of an indirection table.
type Steering struct {
	types        uint32
	unclassified uint16
	table        []uint16
	toeplitz     Toeplitz
}

// NewSteering takes what the driver sent with VIRTIO_NET_CTRL_MQ_RSS_CONFIG: hash types, the indirection table, whose length is a
// power of two, the queue for packets without a hash, and the key. It copies what it keeps.
func NewSteering(types uint32, table []uint16, unclassified uint16, key []byte) (*Steering, error) {
	switch n := len(table); {
	case types&^SupportedHashTypes != 0:
		return nil, fmt.Errorf("receive-side scaling: hash types %#x are not supported", types&^SupportedHashTypes)
	case n == 0 || n > MaxIndirection || n&(n-1) != 0:
		return nil, fmt.Errorf("receive-side scaling: an indirection table of %d entries; want a power of two up to %d", n, MaxIndirection)
	case len(key) != KeyLen:
		return nil, fmt.Errorf("receive-side scaling: a key of %d bytes; want %d", len(key), KeyLen)
	}
	s := &Steering{types: types, unclassified: unclassified, table: append([]uint16(nil), table...)}
	s.toeplitz.SetKey((*[KeyLen]byte)(key))
	return s, nil
}

// Types are the hash types that apply.
func (s *Steering) Types() uint32 { return s.types }

// Table is the indirection table, not to be changed.
func (s *Steering) Table() []uint16 { return s.table }

// Unclassified is the queue pair for packets without a hash.
func (s *Steering) Unclassified() uint16 { return s.unclassified }

// Toeplitz is the hash with its key, not to be changed.
func (s *Steering) Toeplitz() *Toeplitz { return &s.toeplitz }

// Queue is the queue pair for a frame. head is its beginning, from the Ethernet header on; 96 bytes are always enough.
func (s *Steering) Queue(head []byte) uint16 {
	hash, report := s.Hash(head)
	if report == ReportNone {
		return s.unclassified
	}
	return s.table[int(hash)&(len(s.table)-1)]
}

// Hash is the frame's hash and what it is made of.
func (s *Steering) Hash(head []byte) (hash uint32, report uint16) {
	if len(head) < EthernetLen {
		return 0, ReportNone
	}
	switch binary.BigEndian.Uint16(head[12:]) {
	case 0x0800:
		return s.hash4(head[EthernetLen:])
	case 0x86dd:
		return s.hash6(head[EthernetLen:])
	}
	return 0, ReportNone
}

// The protocols whose ports are hashed.
const (
	protoTCP = 6
	protoUDP = 17
)

func (s *Steering) hash4(p []byte) (uint32, uint16) {
	if len(p) < 20 || p[0]>>4 != 4 {
		return 0, ReportNone
	}
	var in [12]byte
	copy(in[:8], p[12:20])
	ihl := int(p[0]&15) * 4
	// A fragment has no ports that all fragments share.
	if fragment := binary.BigEndian.Uint16(p[6:])&0x3fff != 0; !fragment && ihl >= 20 && len(p) >= ihl+4 {
		copy(in[8:], p[ihl:])
		switch {
		case p[9] == protoTCP && s.types&HashTCPv4 != 0:
			return s.toeplitz.Sum(in[:]), ReportTCPv4
		case p[9] == protoUDP && s.types&HashUDPv4 != 0:
			return s.toeplitz.Sum(in[:]), ReportUDPv4
		}
	}
	if s.types&HashIPv4 != 0 {
		return s.toeplitz.Sum(in[:8]), ReportIPv4
	}
	return 0, ReportNone
}

// hash6 takes ports only where they follow the fixed header at once: extension headers belong to types that are not supported.
func (s *Steering) hash6(p []byte) (uint32, uint16) {
	if len(p) < 40 || p[0]>>4 != 6 {
		return 0, ReportNone
	}
	var in [36]byte
	copy(in[:32], p[8:40])
	if len(p) >= 44 {
		copy(in[32:], p[40:44])
		switch {
		case p[6] == protoTCP && s.types&HashTCPv6 != 0:
			return s.toeplitz.Sum(in[:]), ReportTCPv6
		case p[6] == protoUDP && s.types&HashUDPv6 != 0:
			return s.toeplitz.Sum(in[:]), ReportUDPv6
		}
	}
	if s.types&HashIPv6 != 0 {
		return s.toeplitz.Sum(in[:32]), ReportIPv6
	}
	return 0, ReportNone
}
