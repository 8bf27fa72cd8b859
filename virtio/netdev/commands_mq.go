package netdev

import (
	"errors"
	"math/bits"

	"doorbell/virtio/backend"
)

// SteeringMode is who chooses the queue of a frame to the guest.
type SteeringMode uint8

// The modes.
const (
	SteeringAutomatic SteeringMode = iota // the backend, by the queue on which the flow was last transmitted
	SteeringBackend                       // the backend, by the driver's indirection table
	SteeringDevice                        // the device, by the driver's indirection table
)

var steeringNames = []string{"automatic", "backend", "device"}

// String is the mode as reports name it.
func (m SteeringMode) String() string {
	if int(m) < len(steeringNames) {
		return steeringNames[m]
	}
	return "unknown"
}

// setPairs is VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, which also returns to automatic steering.
func (d *Device) setPairs(c *command) bool {
	n, ok := c.u16()
	if !ok || !c.end() || n < 1 || int(n) > d.pairs {
		return false
	}
	return d.steerTo(int(n), int(n), nil)
}

// configureRSS is VIRTIO_NET_CTRL_MQ_RSS_CONFIG: struct virtio_net_rss_config (section 5.1.6.5.7.1).
func (d *Device) configureRSS(c *command) bool {
	types, _ := c.u32()
	mask, _ := c.u16()
	unclassified, ok := c.u16()
	n := int(mask) + 1
	if !ok || n > backend.MaxIndirection || bits.OnesCount(uint(n)) != 1 || int(unclassified) >= d.pairs {
		return false
	}
	receive := int(unclassified) + 1
	table := make([]uint16, n)
	for i := range table {
		if table[i], ok = c.u16(); !ok || int(table[i]) >= d.pairs {
			return false
		}
		receive = max(receive, int(table[i])+1)
	}
	transmit, ok := c.u16()
	if !ok || transmit < 1 || int(transmit) > d.pairs {
		return false
	}
	s, ok := readKey(c, types, table, unclassified)
	if !ok || !d.steerTo(receive, int(transmit), s) {
		return false
	}
	return true
}

// configureHash is VIRTIO_NET_CTRL_MQ_HASH_CONFIG: struct virtio_net_hash_config (section 5.1.6.5.6.4).
func (d *Device) configureHash(c *command) bool {
	types, ok := c.u32()
	if !ok || !c.skip(8) {
		return false
	}
	s, ok := readKey(c, types, []uint16{0}, 0)
	if !ok {
		return false
	}
	d.hash = s
	d.publishPolicy()
	return true
}

// readKey reads the end of both commands, hash_key_length and hash_key_data. A key that is shorter than it may be is followed by zeros.
func readKey(c *command, types uint32, table []uint16, unclassified uint16) (*backend.Steering, bool) {
	var key [backend.KeyLen]byte
	n, ok := c.u8()
	if !ok || int(n) > len(key) || !c.read(key[:n]) || !c.end() {
		return nil, false
	}
	s, err := backend.NewSteering(types, table, unclassified, key[:])
	return s, err == nil
}

// steerTo puts another number of pairs and another steering in force, or leaves everything as it is. While the number shrinks, receivers hear
// of it before the backend does, and while it grows after: none polls a queue that the backend has detached.
func (d *Device) steerTo(receive, transmit int, s *backend.Steering) bool {
	old := d.control
	b := d.cfg.Backend
	was, want := max(old.receive, old.transmit), max(receive, transmit)
	told := false // the backend has been given s
	restore := func() bool {
		d.control = old
		if told && old.mode == SteeringBackend {
			_ = b.SetSteering(old.steering)
		} else if told {
			_ = b.SetSteering(nil)
		}
		_ = b.SetActive(was)
		d.publishPolicy()
		return false
	}
	if want > was && b.SetActive(want) != nil {
		return restore()
	}
	// Steering that the device did itself is unknown to the backend.
	d.steering, d.mode = s, SteeringAutomatic
	if s != nil {
		d.mode, d.hash = SteeringBackend, s
	}
	if s != nil || old.mode == SteeringBackend {
		switch err := b.SetSteering(s); {
		case errors.Is(err, backend.ErrSteering) && s != nil:
			if d.pairs > maxSteered {
				return restore()
			}
			d.mode = SteeringDevice
			if d.relays == nil {
				d.relays = newRelays(d.pairs)
			}
		case err != nil:
			return restore()
		}
		told = d.mode == SteeringBackend || s == nil
	}
	// A receiver looks at every queue on which the backend may have a frame, whatever the table says.
	d.receive, d.transmit = want, transmit
	d.publishPolicy()
	if want < was && b.SetActive(want) != nil {
		return restore()
	}
	return true
}
