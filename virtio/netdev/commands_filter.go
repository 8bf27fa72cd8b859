package netdev

// setMode is the commands of class VIRTIO_NET_CTRL_RX: one byte, on or off.
func setMode(m Modes) func(*Device, *command) bool {
	return func(d *Device, c *command) bool {
		on, ok := c.u8()
		if !ok || !c.end() {
			return false
		}
		if on != 0 {
			d.filter.modes |= m
		} else {
			d.filter.modes &^= m
		}
		d.publishPolicy()
		return true
	}
}

// setAddressTables is VIRTIO_NET_CTRL_MAC_TABLE_SET: two counts, each followed by as many addresses.
func (d *Device) setAddressTables(c *command) bool {
	unicast, ok := readTable(c)
	if !ok {
		return false
	}
	multicast, ok := readTable(c)
	if !ok || !c.end() {
		return false
	}
	d.filter.unicast, d.filter.multicast = unicast, multicast
	d.publishPolicy()
	return true
}

func readTable(c *command) (t table, ok bool) {
	n, ok := c.u32()
	if !ok || uint64(n)*6 > c.left() {
		return table{}, false
	}
	if n > maxAddresses {
		return newTable(nil, true), c.skip(uint64(n) * 6)
	}
	var list [maxAddresses]address
	for i := range n {
		var b [6]byte
		c.read(b[:])
		list[i] = addressOf(b[:])
	}
	return newTable(list[:n], false), true
}

// setMACAddress is VIRTIO_NET_CTRL_MAC_ADDR_SET.
func (d *Device) setMACAddress(c *command) bool {
	var b [6]byte
	if !c.read(b[:]) || !c.end() {
		return false
	}
	d.setAddress(addressOf(b[:]))
	return true
}

// setVLAN is VIRTIO_NET_CTRL_VLAN_ADD and _DEL.
func setVLAN(in bool) func(*Device, *command) bool {
	return func(d *Device, c *command) bool {
		id, ok := c.u16()
		if !ok || !c.end() || id >= 4096 {
			return false
		}
		if in {
			d.filter.vlans[id/64] |= 1 << (id % 64)
		} else {
			d.filter.vlans[id/64] &^= 1 << (id % 64)
		}
		d.publishPolicy()
		return true
	}
}

// acknowledgeAnnounce is VIRTIO_NET_CTRL_ANNOUNCE_ACK.
func (d *Device) acknowledgeAnnounce(c *command) bool {
	if !c.end() {
		return false
	}
	d.status.And(^uint32(statusAnnounce))
	return true
}

// setGuestOffloads is VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET: the bits of the features.
func (d *Device) setGuestOffloads(c *command) bool {
	want, ok := c.u64()
	if !ok || !c.end() || want&^(d.features&allGuestOffloads) != 0 {
		return false
	}
	if d.cfg.Backend.SetOffloads(guestOffloads(want)) != nil {
		return false
	}
	d.offloads = want
	d.publishPolicy()
	return true
}
