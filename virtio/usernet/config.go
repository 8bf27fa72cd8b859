package usernet

import (
	"fmt"
	"net"
	"net/netip"
	"time"
)

// The addresses of the network, as QEMU's user-mode networking has them.
var (
	networkPrefix = netip.MustParsePrefix("10.0.2.0/24")
	gatewayAddr   = netip.MustParseAddr("10.0.2.2")
	dnsAddr       = netip.MustParseAddr("10.0.2.3")
	guestAddr     = netip.MustParseAddr("10.0.2.15")
)

// Gateway is the address at which a guest finds this host's loopback.
func Gateway() netip.Addr { return gatewayAddr }

// gatewayMAC is the hardware address of the gateway and the name server.
var gatewayMAC = net.HardwareAddr{0x52, 0x55, 0x0a, 0x00, 0x02, 0x02}

// The range of Config.MTU: IPv4's smallest datagram that all must take, and its longest.
const (
	minMTU     = 576
	maxMTU     = 65535
	defaultMTU = 1500
)

// Config is what New wants to know. The zero value is usable.
type Config struct {
	Queues   int              // queue pairs; 0 is 1
	MTU      int              // of the link, told to the guest by DHCP; 0 is 1500
	MAC      net.HardwareAddr // the card's, for which 10.0.2.15 is kept; nil gives it to the first that asks
	Forwards []Forward        // ports of the host that lead to the guest
	// Resolver is the file that names the host's name servers; empty is /etc/resolv.conf. It is read again when it changes.
	Resolver string
	Limits   Limits
}

// Limits bound what a guest can make the process hold. Zero fields have the defaults.
type Limits struct {
	TCP         int           // connections in both directions; 1024
	LargeTCP    int           // of these, how many may have large buffers; 16
	Pending     int           // connections that the host has not answered yet; 256
	UDP         int           // flows; 1024
	UDPIdle     time.Duration // after which a flow ends; 60 s
	Echo        int           // flows of echo requests; 64
	DNS         int           // queries that wait for an answer; 128
	QueueFrames int           // frames that wait in one queue for the guest, a power of two; 4096
	QueueBytes  int           // their bytes; 16 MiB
}

func (l *Limits) setDefaults() {
	for _, d := range []struct {
		field *int
		value int
	}{
		{&l.TCP, 1024}, {&l.LargeTCP, 16}, {&l.Pending, 256}, {&l.UDP, 1024}, {&l.Echo, 64}, {&l.DNS, 128},
		{&l.QueueFrames, 4096}, {&l.QueueBytes, 16 << 20},
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	if l.UDPIdle <= 0 {
		l.UDPIdle = 60 * time.Second
	}
}

// maxQueues is virtio's limit on queue pairs (VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MAX) as far as a flow table's byte can number them.
const maxQueues = 256

func (c *Config) check() error {
	if c.Queues == 0 {
		c.Queues = 1
	}
	if c.MTU == 0 {
		c.MTU = defaultMTU
	}
	if c.Resolver == "" {
		c.Resolver = "/etc/resolv.conf"
	}
	c.Limits.setDefaults()
	switch {
	case c.Queues < 0 || c.Queues > maxQueues:
		return fmt.Errorf("user-mode networking: %d queue pairs; want 1 to %d", c.Queues, maxQueues)
	case c.MTU < minMTU || c.MTU > maxMTU:
		return fmt.Errorf("user-mode networking: an MTU of %d; want %d to %d", c.MTU, minMTU, maxMTU)
	case c.MAC != nil && len(c.MAC) != 6:
		return fmt.Errorf("user-mode networking: %v is not an Ethernet address", c.MAC)
	case c.Limits.QueueFrames&(c.Limits.QueueFrames-1) != 0:
		return fmt.Errorf("user-mode networking: a queue of %d frames; want a power of two", c.Limits.QueueFrames)
	}
	return nil
}
