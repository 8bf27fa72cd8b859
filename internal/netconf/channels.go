package netconf

import "golang.org/x/sys/unix"

// Channels are a card's queues (ethtool -l). A combined channel is a pair of queues with one interrupt, or one each.
type Channels struct {
	MaxRx       uint32 `json:"max_rx"`
	MaxTx       uint32 `json:"max_tx"`
	MaxOther    uint32 `json:"max_other"`
	MaxCombined uint32 `json:"max_combined"`
	Rx          uint32 `json:"rx"`
	Tx          uint32 `json:"tx"`
	Other       uint32 `json:"other"`
	Combined    uint32 `json:"combined"`
}

const channelsSize = 36 // struct ethtool_channels

// fields are in the structure's order, after the command.
func (c *Channels) fields() []*uint32 {
	return []*uint32{&c.MaxRx, &c.MaxTx, &c.MaxOther, &c.MaxCombined, &c.Rx, &c.Tx, &c.Other, &c.Combined}
}

// Channels returns the queues in use and possible.
func (n *NIC) Channels() (Channels, error) {
	var c Channels
	buffer := make([]byte, channelsSize)
	err := n.do("channels", unix.ETHTOOL_GCHANNELS, buffer)
	load(buffer, 1, c.fields()...)
	return c, err
}

// SetChannels changes the numbers in use (ethtool -L); the maxima are the card's.
func (n *NIC) SetChannels(c Channels) error {
	buffer := make([]byte, channelsSize)
	for i, f := range c.fields() {
		put(buffer, 1+i, *f)
	}
	return n.do("set channels", unix.ETHTOOL_SCHANNELS, buffer)
}

// SetCombined changes the number of combined channels and nothing else.
func (n *NIC) SetCombined(count int) error {
	c, err := n.Channels()
	if err != nil {
		return err
	}
	if c.Combined == uint32(count) {
		return nil
	}
	c.Combined = uint32(count)
	return n.SetChannels(c)
}
