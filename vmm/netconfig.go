package vmm

import (
	"bytes"
	"fmt"
	"net"
	"strconv"
	"strings"

	"doorbell/virtio/netdev"
	"doorbell/virtio/usernet"
)

// NetConfig is the machine's network card and what it is connected to. The zero value is no card.
type NetConfig struct {
	Backend  string            // "user", "tap", or empty for no card
	Tap      string            // name of the tap interface
	Queues   int               // queue pairs; 0 is one for each vCPU, up to maxDefaultPairs
	IO       netdev.IOMode     // how the I/O threads wait
	MAC      net.HardwareAddr  // nil is defaultMAC
	Forwards []usernet.Forward // ports of the host that lead to the guest, of backend user
	Off      uint64            // features that are not offered, the device's and the transport's
}

const (
	// maxPairs is virtio-net's limit here: queue pairs and the control queue within virtio.PCI's registers.
	maxPairs = 64
	// maxDefaultPairs bounds what a guest with many vCPUs gets without being asked for more.
	maxDefaultPairs = 8
)

// defaultMAC is locally administered (IEEE 802, section 8.2.1).
var defaultMAC = net.HardwareAddr{0x02, 0xdb, 0xe1, 0x00, 0x00, 0x01}

// ParseNet reads what follows --net: user, tap=NAME or none, then options, separated by commas. An error is a *ConfigError.
func ParseNet(s string) (NetConfig, error) {
	words := strings.Split(s, ",")
	var c NetConfig
	bad := func(format string, args ...any) (NetConfig, error) {
		return NetConfig{}, &ConfigError{"--net", fmt.Sprintf("%q: ", s) + fmt.Sprintf(format, args...)}
	}
	kind, name, named := strings.Cut(words[0], "=")
	switch {
	case kind == "none" && !named:
		if len(words) > 1 {
			return bad("none has no options")
		}
		return c, nil
	case kind == "user" && !named:
		c.Backend = kind
	case kind == "tap" && name != "":
		c.Backend, c.Tap = kind, name
	default:
		return bad("write user, tap=NAME or none, then options as in user,queues=4")
	}
	for _, w := range words[1:] {
		key, value, _ := strings.Cut(w, "=")
		var err error
		switch key {
		case "queues":
			if c.Queues, err = strconv.Atoi(value); err != nil || c.Queues < 1 || c.Queues > maxPairs {
				return bad("queues: a number of queue pairs from 1 to %d", maxPairs)
			}
		case "io":
			if c.IO, err = netdev.ParseIOMode(value); err != nil {
				return bad("io: there is poll, block and spin")
			}
		case "mac":
			if c.MAC, err = net.ParseMAC(value); err != nil || !oneCard(c.MAC) {
				return bad("mac: an address of one card, as in %s", defaultMAC)
			}
		case "hostfwd":
			f, err := usernet.ParseForward(value)
			if err != nil {
				return bad("%v", err)
			}
			if c.Backend != "user" {
				return bad("hostfwd is for user")
			}
			c.Forwards = append(c.Forwards, f)
		case "off":
			off, err := netdev.ParseFeatures(value)
			if err != nil {
				return bad("off: %v", err)
			}
			c.Off |= off
		default:
			return bad("there is no option %q: there are queues, io, mac, off and hostfwd", key)
		}
	}
	return c, nil
}

// oneCard reports whether an Ethernet address may be a card's own: no group's, and not zero, which drivers take for none.
func oneCard(a net.HardwareAddr) bool {
	return len(a) == 6 && a[0]&1 == 0 && !bytes.Equal(a, make([]byte, 6))
}

// pairs is the number of queue pairs that a machine with n vCPUs gets.
func (c NetConfig) pairs(n int) int {
	if c.Queues > 0 {
		return c.Queues
	}
	return min(n, maxDefaultPairs)
}
