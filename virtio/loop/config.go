package loop

import (
	"fmt"
	"net"

	"doorbell/virtio/backend"
)

// Config says what to generate. The zero value generates nothing and swallows everything, on one queue pair.
type Config struct {
	Queues  int              // queue pairs; 0 is 1
	Size    int              // bytes of a generated frame without its virtio header; 0 is 60, the least is MinSize
	Count   uint64           // generate this many frames in all
	Forever bool             // or without end
	Rate    float64          // frames per second in all; 0 generates one whenever one is asked for
	Burst   int              // with Rate, how many become due together on a queue; 0 is 1
	Backlog int              // how many due or echoed frames may wait on a queue before the oldest are dropped; 0 is 1024
	Flows   int              // the source ports that the frames take in turn; 0 is 16
	MAC     net.HardwareAddr // the destination; nil is broadcast
	Echo    bool             // send the guest's frames back to it, with their Ethernet addresses exchanged
	MTU     int              // told to the device; 0 is 1500
}

const (
	// MinSize holds the headers and the number.
	MinSize = headersLen + 8

	headersLen = backend.EthernetLen + 20 + 8 // Ethernet, IPv4, UDP

	maxQueues  = 256
	maxBacklog = 1 << 20
	maxFlows   = 1 << 14
)

func (c *Config) check() error {
	for _, d := range []struct {
		field *int
		value int
	}{{&c.Queues, 1}, {&c.Size, 60}, {&c.Burst, 1}, {&c.Backlog, 1024}, {&c.Flows, 16}, {&c.MTU, 1500}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if c.MAC == nil {
		c.MAC = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	}
	switch {
	case c.Queues < 1 || c.Queues > maxQueues:
		return fmt.Errorf("loop: %d queue pairs; want 1 to %d", c.Queues, maxQueues)
	case c.Size < MinSize || c.Size > backend.EthernetLen+65535:
		return fmt.Errorf("loop: frames of %d bytes; want %d to %d", c.Size, MinSize, backend.EthernetLen+65535)
	case c.Rate < 0 || c.Rate > 1e9:
		return fmt.Errorf("loop: a rate of %g frames per second; want 0 to 1e9", c.Rate)
	case c.Backlog < 1 || c.Backlog > maxBacklog:
		return fmt.Errorf("loop: a backlog of %d frames; want 1 to %d", c.Backlog, maxBacklog)
	case c.Burst < 1 || c.Burst > c.Backlog:
		return fmt.Errorf("loop: bursts of %d frames; want 1 to the backlog, %d", c.Burst, c.Backlog)
	case c.Flows < 1 || c.Flows > maxFlows:
		return fmt.Errorf("loop: %d flows; want 1 to %d", c.Flows, maxFlows)
	case len(c.MAC) != 6:
		return fmt.Errorf("loop: %v is not an Ethernet address", c.MAC)
	case c.MTU < 68 || c.MTU > 65535:
		return fmt.Errorf("loop: an MTU of %d; want 68 to 65535", c.MTU)
	}
	return nil
}
