package netconf

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Coalesce says how long a card may keep an interrupt back: until a number of frames, or of microseconds, whichever is first
// (ethtool -c). 0 of both is an interrupt at once.
type Coalesce struct {
	RxUsecs    uint32 `json:"rx_usecs"`
	RxFrames   uint32 `json:"rx_frames"`
	TxUsecs    uint32 `json:"tx_usecs"`
	TxFrames   uint32 `json:"tx_frames"`
	AdaptiveRx uint32 `json:"adaptive_rx"` // 0 or 1: the driver changes the rest as it likes
	AdaptiveTx uint32 `json:"adaptive_tx"`
}

const (
	coalesceSize = 92   // struct ethtool_coalesce
	maxQueue     = 4096 // MAX_NUM_QUEUE
)

// words are the indices of our fields in the structure; the others are for hardware of other kinds.
func (c *Coalesce) words() map[int]*uint32 {
	return map[int]*uint32{1: &c.RxUsecs, 2: &c.RxFrames, 5: &c.TxUsecs, 6: &c.TxFrames, 10: &c.AdaptiveRx, 11: &c.AdaptiveTx}
}

func (c *Coalesce) load(buffer []byte) {
	for word, f := range c.words() {
		*f = get(buffer, word)
	}
}

func (c *Coalesce) store(buffer []byte) {
	for word, f := range c.words() {
		put(buffer, word, *f)
	}
}

// Coalesce returns what is set for the card.
func (n *NIC) Coalesce() (Coalesce, error) {
	var c Coalesce
	buffer := make([]byte, coalesceSize)
	err := n.do("coalescing", unix.ETHTOOL_GCOALESCE, buffer)
	c.load(buffer)
	return c, err
}

// SetCoalesce changes it (ethtool -C). What is not in Coalesce stays as it is.
func (n *NIC) SetCoalesce(c Coalesce) error {
	const operation = "set coalescing"
	buffer := make([]byte, coalesceSize)
	if err := n.do(operation, unix.ETHTOOL_GCOALESCE, buffer); err != nil {
		return err
	}
	c.store(buffer)
	return n.do(operation, unix.ETHTOOL_SCOALESCE, buffer)
}

// perQueue is struct ethtool_per_queue_op for one queue with a coalescing structure behind it.
func perQueue(queue int, sub uint32) (buffer, data []byte, err error) {
	const header = 8 + maxQueue/8
	if queue < 0 || queue >= maxQueue {
		return nil, nil, fmt.Errorf("queue %d is not below %d", queue, maxQueue)
	}
	buffer = make([]byte, header+coalesceSize)
	put(buffer, 1, sub)
	put(buffer, 2+queue/32, 1<<(queue%32))
	data = buffer[header:]
	put(data, 0, sub)
	return buffer, data, nil
}

// QueueCoalesce returns what is set for one queue pair; drivers that know only the whole card refuse it.
func (n *NIC) QueueCoalesce(queue int) (Coalesce, error) {
	var c Coalesce
	operation := fmt.Sprintf("coalescing of queue %d", queue)
	buffer, data, err := perQueue(queue, unix.ETHTOOL_GCOALESCE)
	if err != nil {
		return c, fmt.Errorf("%s: %w", n.name, err)
	}
	err = n.do(operation, unix.ETHTOOL_PERQUEUE, buffer)
	c.load(data)
	return c, err
}

// SetQueueCoalesce changes one queue pair's (ethtool --per-queue).
func (n *NIC) SetQueueCoalesce(queue int, c Coalesce) error {
	operation := fmt.Sprintf("set coalescing of queue %d", queue)
	buffer, data, err := perQueue(queue, unix.ETHTOOL_GCOALESCE)
	if err != nil {
		return fmt.Errorf("%s: %w", n.name, err)
	}
	if err := n.do(operation, unix.ETHTOOL_PERQUEUE, buffer); err != nil {
		return err
	}
	put(buffer, 1, unix.ETHTOOL_SCOALESCE)
	put(data, 0, unix.ETHTOOL_SCOALESCE)
	c.store(data)
	return n.do(operation, unix.ETHTOOL_PERQUEUE, buffer)
}
