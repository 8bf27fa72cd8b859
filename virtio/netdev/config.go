package netdev

import (
	"errors"
	"fmt"
	"math/bits"
	"net"

	"doorbell/virtio/backend"
)

// IOMode is how a queue's goroutine waits.
type IOMode uint8

// The modes.
const (
	// Poll parks the goroutine in Go's network poller: no thread of its own.
	Poll IOMode = iota
	// Block has a thread of its own wait in the kernel.
	Block
	// Spin never waits while its queue is in use, and asks for no kicks.
	Spin
)

var modeNames = []string{"poll", "block", "spin"}

// String is the mode as the command line names it.
func (m IOMode) String() string {
	if int(m) < len(modeNames) {
		return modeNames[m]
	}
	return "unknown"
}

// ParseIOMode is the opposite of String.
func ParseIOMode(s string) (IOMode, error) {
	for i, name := range modeNames {
		if s == name {
			return IOMode(i), nil
		}
	}
	return 0, fmt.Errorf("I/O mode %q: want poll, block or spin", s)
}

// Config is what a device is made of.
type Config struct {
	Name    string           // for errors, and for the names of threads in mode Block
	Backend backend.Backend  // stays the caller's, who closes it after the device
	MAC     net.HardwareAddr // the permanent address
	MTU     int              // the longest IP packet; 0 is the backend's, and if it does not know, none is advised
	IO      IOMode
	Disable uint64 // features that are not offered, nor those that need them
	// QueueSize is the most entries that a transmit or receive queue may have; 0 is 256.
	QueueSize int
}

const (
	maxPairs         = 256
	defaultQueueSize = 256
	maxQueueSize     = 1024
	// controlQueueSize is ample: drivers have one command under way at a time.
	controlQueueSize = 64
)

func (c *Config) check() error {
	if c.Backend == nil {
		return errors.New("no backend")
	}
	if c.QueueSize == 0 {
		c.QueueSize = defaultQueueSize
	}
	switch n := c.Backend.Queues(); {
	case n < 1 || n > maxPairs:
		return fmt.Errorf("%d queue pairs; want 1 to %d", n, maxPairs)
	case len(c.MAC) != 6 || c.MAC[0]&1 != 0:
		return fmt.Errorf("%v is not the address of an Ethernet interface", c.MAC)
	case c.MTU != 0 && (c.MTU < 68 || c.MTU > 65535):
		return fmt.Errorf("an MTU of %d; want 68 to 65535", c.MTU)
	case c.IO > Spin:
		return fmt.Errorf("I/O mode %d is unknown", c.IO)
	case c.QueueSize < 2 || c.QueueSize > maxQueueSize || bits.OnesCount(uint(c.QueueSize)) != 1:
		return fmt.Errorf("queues of %d entries; want a power of two from 2 to %d", c.QueueSize, maxQueueSize)
	}
	return nil
}
