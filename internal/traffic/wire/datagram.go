package wire

import "encoding/binary"

// DatagramHeader is the least that a datagram has.
const DatagramHeader = 12

// Types of datagrams.
const (
	DatagramHello = 1 // from who connects: it tells the other side where to send
	DatagramData  = 2
)

// Datagram is the header of each datagram: which task's, which flow's, what it is, and its number from 0.
type Datagram struct {
	Key      uint32
	Flow     uint16
	Type     uint16
	Sequence uint32
}

// Key is a token's short form.
func (t Token) Key() uint32 { return binary.BigEndian.Uint32(t[:]) }

// Put writes the header; b has room for it.
func (d Datagram) Put(b []byte) {
	binary.BigEndian.PutUint32(b[0:], d.Key)
	binary.BigEndian.PutUint16(b[4:], d.Flow)
	binary.BigEndian.PutUint16(b[6:], d.Type)
	binary.BigEndian.PutUint32(b[8:], d.Sequence)
}

// ParseDatagram reads the header; there may be less than that in b.
func ParseDatagram(b []byte) (Datagram, bool) {
	if len(b) < DatagramHeader {
		return Datagram{}, false
	}
	return Datagram{
		Key: binary.BigEndian.Uint32(b[0:]), Flow: binary.BigEndian.Uint16(b[4:]),
		Type: binary.BigEndian.Uint16(b[6:]), Sequence: binary.BigEndian.Uint32(b[8:]),
	}, true
}

// A Tally counts the datagrams that a flow received, each once.
type Tally struct {
	Received, Duplicates, Reordered uint64

	count uint64
	seen  []uint64 // a bit for each number
	next  uint32
}

// NewTally is for numbers below count, which is at most MaxPackets.
func NewTally(count uint64) *Tally { return &Tally{count: count, seen: make([]uint64, (count+63)/64)} }

// Add counts one number. It allocates nothing. A number beyond the count is ignored.
func (t *Tally) Add(n uint32) {
	word, bit := n/64, uint64(1)<<(n%64)
	if uint64(n) >= t.count {
		return
	}
	if t.seen[word]&bit != 0 {
		t.Duplicates++
		return
	}
	t.seen[word] |= bit
	t.Received++
	if n < t.next {
		t.Reordered++
		return
	}
	t.next = n + 1
}
