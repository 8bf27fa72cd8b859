package netdev

import "encoding/binary"

// The two kinds of queues, as the parity of their numbers.
const (
	receiveQueues  = 0
	transmitQueues = 1
)

func readCoalescing(c *command) (p Coalescing, ok bool) {
	if p.MaxPackets, ok = c.u32(); !ok {
		return p, false
	}
	p.MaxUsecs, ok = c.u32()
	return p, ok && c.end()
}

// setCoalescing is VIRTIO_NET_CTRL_NOTF_COAL_TX_SET and _RX_SET.
func setCoalescing(kind int) func(*Device, *command) bool {
	return func(d *Device, c *command) bool {
		p, ok := readCoalescing(c)
		if !ok {
			return false
		}
		d.defaults[kind] = &p
		for i := kind; i < d.controlQueue(); i += 2 {
			d.coalescing[i].store(&p)
			d.waiters[i].wake()
		}
		return true
	}
}

// readQueue reads vq_index and reserved of struct virtio_net_ctrl_coal_vq: the number of an enabled receive or transmit queue.
func (d *Device) readQueue(c *command) (n int, ok bool) {
	i, ok := c.u16()
	if !ok || !c.skip(2) || int(i) >= d.controlQueue() || !d.enabled[i] {
		return 0, false
	}
	return int(i), true
}

// setQueueCoalescing is VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET.
func (d *Device) setQueueCoalescing(c *command) bool {
	i, ok := d.readQueue(c)
	if !ok {
		return false
	}
	p, ok := readCoalescing(c)
	if !ok {
		return false
	}
	d.coalescing[i].store(&p)
	d.waiters[i].wake()
	return true
}

// getQueueCoalescing is VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET.
func (d *Device) getQueueCoalescing(c *command) bool {
	i, ok := d.readQueue(c)
	if !ok || !c.end() || c.room < 8 {
		return false
	}
	p := d.coalescing[i].load()
	c.result = binary.LittleEndian.AppendUint32(c.result, p.MaxPackets)
	c.result = binary.LittleEndian.AppendUint32(c.result, p.MaxUsecs)
	return true
}
