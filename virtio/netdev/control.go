package netdev

import (
	"errors"

	"doorbell/virtio"
	"doorbell/virtio/backend"
)

var errControlAck = errors.New("a control command has no room for its answer")

// control is what the driver has set, or Device's own methods. Device.mu guards it.
type control struct {
	down     bool   // SetLink
	offloads uint64 // in force, as in the command
	filter   filter
	transmit int // pairs in use
	receive  int

	mode     SteeringMode
	hash     *backend.Steering // types and key for reports; with RSS, the steering itself
	steering *backend.Steering // nil: automatic
	relays   relays

	defaults [2]*Coalescing // for all receive and all transmit queues; nil: not set
}

// resetControl makes the state after a reset, except what the driver has no say in. The caller holds mu, or is New.
func (d *Device) resetControl() {
	d.control = control{down: d.down, transmit: 1, receive: 1}
	for i := range d.coalescing {
		d.coalescing[i].store(nil)
	}
	d.setAddress(d.permanent)
}

// setAddress is the address that is in the configuration and in the filter. The caller holds mu.
func (d *Device) setAddress(a address) {
	d.mac.Store(uint64(a))
	d.filter.mac = a
	d.publishPolicy()
}

// publishPolicy makes the present state that of the queues. The caller holds mu.
func (d *Device) publishPolicy() {
	p := &policy{
		linkDown: d.down, transmit: d.transmit, receive: d.receive, offloads: guestOffloads(d.offloads),
		hash: d.hash, relays: d.relays,
	}
	if d.mode == SteeringDevice {
		p.steer = d.steering
	}
	p.sizes(d.mtu, d.features&FeatureMTU != 0)
	if d.features&(FeatureCtrlRx|FeatureCtrlVLAN) != 0 {
		f := d.filter
		f.addresses, f.tagged = d.features&FeatureCtrlRx != 0, d.features&FeatureCtrlVLAN != 0
		p.filter = &f
	}
	d.policy.Store(p)
	d.wakeAll()
}

// controller is the goroutine of the control queue. Commands are rare: it waits, whatever the mode.
type controller struct {
	thread
	chain *virtio.Chain
}

func (c *controller) run() {
	for !c.stopping.Load() {
		c.queue.DisableKicks()
		for more := true; more; {
			for {
				ok, err := c.queue.Pop(c.chain)
				if err != nil {
					return
				}
				if !ok || c.stopping.Load() {
					break
				}
				if err := c.answer(); err != nil {
					c.queue.Fail(err)
					return
				}
				c.queue.Publish()
				c.queue.Notify()
			}
			more = c.queue.EnableKicks() && !c.stopping.Load()
		}
		c.stats.Waits.Add(1)
		c.waiter.wait(false, 0)
		c.kicked()
	}
}

// Answers (section 5.1.6.5).
const (
	ackOK  = 0
	ackErr = 1
)

// answer carries out the command in the chain: class and command, data, then, in the writable part, the answer's byte and
// whatever the command returns.
func (c *controller) answer() error {
	if c.chain.WritableLen() < 1 {
		return errControlAck
	}
	in := &command{list: c.chain.Readable(), len: c.chain.ReadableLen(), room: c.chain.WritableLen() - 1}
	c.stats.Commands.Add(1)
	ack := []byte{ackOK}
	if !c.device.execute(in) {
		ack[0] = ackErr
		in.result = nil
		c.stats.Refused.Add(1)
	}
	out := c.chain.Writable()
	backend.Scatter(out, 0, ack)
	backend.Scatter(out, 1, in.result)
	c.queue.Push(c.chain, uint32(1+len(in.result)))
	return nil
}
