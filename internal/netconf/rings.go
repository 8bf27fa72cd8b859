package netconf

import "golang.org/x/sys/unix"

// Rings are the lengths of a card's queues in descriptors (ethtool -g).
type Rings struct {
	MaxRx uint32 `json:"max_rx"`
	MaxTx uint32 `json:"max_tx"`
	Rx    uint32 `json:"rx"`
	Tx    uint32 `json:"tx"`
}

const ringsSize = 36 // struct ethtool_ringparam

// words are the indices of our fields in the structure; the others are for cards with queues of other kinds.
func (r *Rings) words() map[int]*uint32 {
	return map[int]*uint32{1: &r.MaxRx, 4: &r.MaxTx, 5: &r.Rx, 8: &r.Tx}
}

// Rings returns the lengths in use and possible.
func (n *NIC) Rings() (Rings, error) {
	var r Rings
	buffer := make([]byte, ringsSize)
	err := n.do("rings", unix.ETHTOOL_GRINGPARAM, buffer)
	for word, f := range r.words() {
		*f = get(buffer, word)
	}
	return r, err
}

// SetRings changes the lengths in use (ethtool -G); the maxima are the card's.
func (n *NIC) SetRings(r Rings) error {
	const operation = "set rings"
	buffer := make([]byte, ringsSize)
	if err := n.do(operation, unix.ETHTOOL_GRINGPARAM, buffer); err != nil {
		return err
	}
	put(buffer, 5, r.Rx)
	put(buffer, 8, r.Tx)
	return n.do(operation, unix.ETHTOOL_SRINGPARAM, buffer)
}
