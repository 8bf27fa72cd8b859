package netdev

import (
	"fmt"

	"doorbell/virtio"
	"doorbell/virtio/backend"
)

// controlQueue is the number of the control queue (section 5.1.2). The caller holds mu.
func (d *Device) controlQueue() int {
	if d.active {
		return d.controlLast
	}
	return d.controlIndex()
}

// headerLen is the length of struct virtio_net_hdr.
func headerLen(features uint64) int {
	if features&FeatureHashReport != 0 {
		return backend.HeaderLen + hashLen
	}
	return backend.HeaderLen
}

// Activate implements virtio.Device.
func (d *Device) Activate(features uint64, queues []*virtio.Queue) error {
	if err := d.begin(features); err != nil {
		return err
	}
	for _, q := range queues {
		if q != nil {
			if err := d.StartQueue(q); err != nil {
				return err
			}
		}
	}
	return nil
}

// begin makes the state that a driver finds after DRIVER_OK.
func (d *Device) begin(features uint64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.features, d.active = features, true
	d.controlLast = d.controlIndex()
	if features&(FeatureMQ|FeatureRSS) == 0 {
		d.controlLast = 2
	}
	d.offloads = features & allGuestOffloads
	if err := d.cfg.Backend.SetOffloads(guestOffloads(d.offloads)); err != nil {
		return fmt.Errorf("%v: offloads %v: %w", d.cfg.Backend, guestOffloads(d.offloads), err)
	}
	if err := d.cfg.Backend.SetActive(1); err != nil {
		return fmt.Errorf("%v: one active queue pair: %w", d.cfg.Backend, err)
	}
	d.publishPolicy()
	return nil
}

// StartQueue implements virtio.Device. A queue that the negotiated features give no purpose is not used.
func (d *Device) StartQueue(q *virtio.Queue) error {
	i := q.Index()
	d.mu.Lock()
	features, control := d.features, d.controlQueue()
	d.mu.Unlock()
	if d.threads[i] != nil {
		return errRunning
	}
	t := thread{device: d, queue: q, waiter: d.waiters[i], stats: &d.stats[i]}
	source := -1
	isControl := i == control && features&FeatureCtrlVQ != 0
	if !isControl && i >= control {
		return nil
	}
	if !isControl && i%2 == 0 {
		source = d.cfg.Backend.Queue(i / 2).FD()
	}
	if err := t.waiter.begin(q.KickFD(), source); err != nil {
		return fmt.Errorf("queue %d: %w", i, err)
	}
	name := d.cfg.Name + "-" + roleName(i, control)
	coalesce := coalescer{queue: q, stats: t.stats, params: &d.coalescing[i]}
	merge, header := features&FeatureMrgRxBuf != 0, headerLen(features)
	switch {
	case isControl:
		c := &controller{chain: q.NewChain()}
		d.run(i, c, &c.thread, &t, name, c.run)
	case i%2 == 0:
		r := &receiver{
			pair: i / 2, source: d.cfg.Backend.Queue(i / 2), buffers: newBuffers(q, merge, header), coalesce: coalesce,
			report: features&FeatureHashReport != 0,
		}
		d.run(i, r, &r.thread, &t, name, r.run)
	default:
		x := &transmitter{
			pair: i / 2, sink: d.cfg.Backend.Queue(i / 2), coalesce: coalesce, chain: q.NewChain(), header: header,
			list: make([][]byte, 0, q.Size()+2),
		}
		d.run(i, x, &x.thread, &t, name, x.run)
	}
	d.mu.Lock()
	d.enabled[i] = true
	d.mu.Unlock()
	return nil
}

// run starts a queue's goroutine.
func (d *Device) run(i int, s stopper, own, t *thread, name string, run func()) {
	own.device, own.queue, own.waiter, own.stats = t.device, t.queue, t.waiter, t.stats
	d.threads[i] = s
	own.start(name, run)
}

// StopQueue implements virtio.Device. What the queue's coalescing is when it is enabled again follows section 5.1.6.5.8.
func (d *Device) StopQueue(n int) {
	if s := d.threads[n]; s != nil {
		s.stop()
		d.threads[n] = nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.enabled[n] = false
	d.coalescing[n].store(d.defaults[n%2])
}

// Reset implements virtio.Device.
func (d *Device) Reset() {
	for i := range d.threads {
		d.StopQueue(i)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.active {
		// A backend that is closed cannot be told, and need not be.
		_ = d.cfg.Backend.SetOffloads(0)
		_ = d.cfg.Backend.SetSteering(nil)
		_ = d.cfg.Backend.SetActive(1)
	}
	d.features, d.active = 0, false
	d.status.And(^uint32(statusAnnounce))
	d.resetControl()
}

// wakeReceiver makes the receiver of a pair look at what it was handed.
func (d *Device) wakeReceiver(pair int) { d.waiters[2*pair].wake() }

// wakeAll makes all queues look at what has changed.
func (d *Device) wakeAll() {
	for _, w := range d.waiters {
		w.wake()
	}
}
