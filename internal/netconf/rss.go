package netconf

import (
	"encoding/hex"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// RSS is how a card spreads what it receives over its queues (ethtool -x): a keyed hash over a packet's addresses and ports is the
// index, modulo its length, into a table of queues.
type RSS struct {
	Indirection []uint32 `json:"indirection"`
	// Key is the Toeplitz key, in hexadecimal digits.
	Key string `json:"key,omitempty"`
	// Function is a bit mask of hash functions: 1 is Toeplitz.
	Function uint8 `json:"function"`
}

const (
	rssHeader    = 24 // struct ethtool_rxfh
	rssNoChange  = 0xffffffff
	maxRSSTable  = 1 << 16
	maxRSSKey    = 1 << 10
	functionByte = 16
)

// RSS returns the table, key and hash function.
func (n *NIC) RSS() (RSS, error) {
	const operation = "receive-side scaling"
	// Sizes of 0 ask for the sizes.
	sizes := make([]byte, rssHeader)
	if err := n.do(operation, unix.ETHTOOL_GRSSH, sizes); err != nil {
		return RSS{}, err
	}
	table, key := get(sizes, 2), get(sizes, 3)
	if table > maxRSSTable || key > maxRSSKey {
		return RSS{}, fmt.Errorf("%s: %s: the driver has a table of %d and a key of %d bytes", n.name, operation, table, key)
	}
	buffer := make([]byte, rssHeader+4*table+key)
	put(buffer, 2, table)
	put(buffer, 3, key)
	if err := n.do(operation, unix.ETHTOOL_GRSSH, buffer); err != nil {
		return RSS{}, err
	}
	r := RSS{Indirection: make([]uint32, table), Function: buffer[functionByte]}
	for i := range r.Indirection {
		r.Indirection[i] = get(buffer, rssHeader/4+i)
	}
	r.Key = hex.EncodeToString(buffer[rssHeader+4*table:])
	return r, nil
}

// SetRSS changes the table and the key (ethtool -X); an empty one stays as it is. A table shorter than the card's is repeated.
func (n *NIC) SetRSS(r RSS) error {
	const operation = "set receive-side scaling"
	key, err := hex.DecodeString(r.Key)
	if err != nil {
		return fmt.Errorf("%s: %s: key: %w", n.name, operation, err)
	}
	sizes := make([]byte, rssHeader)
	if err := n.do(operation, unix.ETHTOOL_GRSSH, sizes); err != nil {
		return err
	}
	table := get(sizes, 2)
	switch want := int(get(sizes, 3)); {
	case table > maxRSSTable || len(r.Indirection) > int(table):
		return fmt.Errorf("%s: %s: a table of %d where the card has %d", n.name, operation, len(r.Indirection), table)
	case len(key) != 0 && len(key) != want:
		return fmt.Errorf("%s: %s: a key of %d bytes where the card has %d", n.name, operation, len(key), want)
	}
	entries := table
	if len(r.Indirection) == 0 {
		entries = 0
	}
	buffer := make([]byte, rssHeader+4*int(entries)+len(key))
	put(buffer, 2, entries)
	if entries == 0 {
		put(buffer, 2, rssNoChange) // 0 would ask for the default
	}
	put(buffer, 3, uint32(len(key)))
	buffer[functionByte] = r.Function // 0 leaves it
	for i := range int(entries) {
		put(buffer, rssHeader/4+i, r.Indirection[i%len(r.Indirection)])
	}
	copy(buffer[rssHeader+4*int(entries):], key)
	return n.do(operation, unix.ETHTOOL_SRSSH, buffer)
}

// SpreadRSS sets the table to the first queues in turn (ethtool -X equal).
func (n *NIC) SpreadRSS(queues int) error {
	table := make([]uint32, max(queues, 0))
	for i := range table {
		table[i] = uint32(i)
	}
	if len(table) == 0 {
		return fmt.Errorf("%s: set receive-side scaling: no queue", n.name)
	}
	return n.SetRSS(RSS{Indirection: table})
}

// flowTypes are ethtool's names of what hash fields are chosen for.
var flowTypes = map[string]uint32{
	"tcp4": 0x01, "udp4": 0x02, "sctp4": 0x03, "ah4": 0x04, "tcp6": 0x05, "udp6": 0x06, "sctp6": 0x07, "ah6": 0x08,
	"ipv4": 0x10, "ipv6": 0x11,
}

// hashLetters are ethtool's letters for the fields, by bit (RXH_*): the Ethernet destination, the VLAN tag, the layer 3 protocol,
// source and destination address, source and destination port; and r for what is dropped.
var hashLetters = []struct {
	bit    uint
	letter byte
}{{1, 'm'}, {2, 'v'}, {3, 't'}, {4, 's'}, {5, 'd'}, {6, 'f'}, {7, 'n'}, {31, 'r'}}

// flowHash is the part of struct ethtool_rxnfc that these commands read; there is room for all of it.
func flowHash(flow string) ([]byte, error) {
	kind, ok := flowTypes[flow]
	if !ok {
		return nil, fmt.Errorf("flow type %.20q is not tcp4, udp4, sctp4, ah4, ipv4 or one of these with 6", flow)
	}
	buffer := make([]byte, 192)
	put(buffer, 1, kind)
	return buffer, nil
}

// HashFields returns which fields of a type of flow the hash is over, as letters ("sdfn"; ethtool -n rx-flow-hash).
func (n *NIC) HashFields(flow string) (string, error) {
	buffer, err := flowHash(flow)
	if err != nil {
		return "", fmt.Errorf("%s: %w", n.name, err)
	}
	if err := n.do("hash fields of "+flow, unix.ETHTOOL_GRXFH, buffer); err != nil {
		return "", err
	}
	var letters strings.Builder
	data := order.Uint64(buffer[8:])
	for _, l := range hashLetters {
		if data&(1<<l.bit) != 0 {
			letters.WriteByte(l.letter)
		}
	}
	return letters.String(), nil
}

// SetHashFields chooses them (ethtool -N rx-flow-hash).
func (n *NIC) SetHashFields(flow, letters string) error {
	buffer, err := flowHash(flow)
	if err != nil {
		return fmt.Errorf("%s: %w", n.name, err)
	}
	var data uint64
	for _, letter := range []byte(letters) {
		found := false
		for _, l := range hashLetters {
			if l.letter == letter {
				data |= 1 << l.bit
				found = true
			}
		}
		if !found {
			return fmt.Errorf("%s: hash field %q is not one of mvtsdfnr", n.name, letter)
		}
	}
	order.PutUint64(buffer[8:], data)
	return n.do("set hash fields of "+flow, unix.ETHTOOL_SRXFH, buffer)
}
