package virtio

import (
	"errors"
	"fmt"
)

// Bits of device_status (section 2.1).
const (
	statusAcknowledge = 1 << 0
	statusDriver      = 1 << 1
	statusDriverOK    = 1 << 2
	statusFeaturesOK  = 1 << 3
	statusNeedsReset  = 1 << 6
	statusFailed      = 1 << 7

	statusDrivers = statusAcknowledge | statusDriver | statusDriverOK | statusFeaturesOK | statusFailed
)

// Bits of the ISR status (section 4.1.4.5).
const (
	isrQueue  = 1 << 0
	isrConfig = 1 << 1
)

// setStatus is a write to device_status: 0 resets, otherwise bits are only ever added. DRIVER_OK without FEATURES_OK is an error of the driver's.
func (t *PCI) setStatus(v uint64) {
	if v == 0 {
		t.reset()
		return
	}
	added := uint32(v) & statusDrivers &^ t.status.Load()
	if added&statusFeaturesOK != 0 {
		if err := t.negotiate(); err != nil {
			// The driver reads the status back and finds FEATURES_OK missing (section 3.1.1).
			t.report(fmt.Errorf("features %#x refused: %w", t.driverFeatures, err))
			added &^= statusFeaturesOK
		}
	}
	if added&statusDriverOK != 0 && (t.status.Load()|added)&statusFeaturesOK == 0 {
		added &^= statusDriverOK
		t.fail(errors.New("DRIVER_OK without FEATURES_OK"))
	}
	t.status.Or(added)
	if added&statusDriverOK != 0 {
		queues := make([]*Queue, len(t.slots))
		for i := range t.slots {
			queues[i] = t.slots[i].queue
		}
		if err := t.device.Activate(t.driverFeatures, queues); err != nil {
			t.fail(fmt.Errorf("activate: %w", err))
			return
		}
		t.active = true
	}
}

// negotiate decides on the features that the driver has written.
func (t *PCI) negotiate() error {
	if extra := t.driverFeatures &^ t.offered; extra != 0 {
		return fmt.Errorf("%#x were not offered", extra)
	}
	if t.driverFeatures&FeatureVersion1 == 0 {
		return errors.New("VIRTIO_F_VERSION_1 is missing")
	}
	if err := t.device.Negotiate(t.driverFeatures); err != nil {
		return err
	}
	t.negotiated.Store(t.driverFeatures)
	return nil
}

// setQueueEnable is a write to queue_enable. What the driver wrote about the queue is looked at here, and only here.
func (t *PCI) setQueueEnable(v uint64) {
	s := t.selected()
	if s == nil || v != 1 || s.queue != nil {
		return
	}
	n := int(t.queueSelect)
	q, err := t.openQueue(n, s)
	if err != nil {
		t.fail(fmt.Errorf("queue %d: enable: %w", n, err))
		return
	}
	s.queue = q
	if !t.active {
		return
	}
	if err := t.device.StartQueue(q); err != nil {
		s.queue = nil
		t.fail(fmt.Errorf("queue %d: start: %w", n, err))
	}
}

func (t *PCI) openQueue(n int, s *slot) (*Queue, error) {
	if t.status.Load()&statusFeaturesOK == 0 {
		return nil, errors.New("features are not negotiated")
	}
	if s.size > s.max {
		return nil, fmt.Errorf("size %d is more than %d", s.size, s.max)
	}
	c := ringConfig{
		memory: t.memory, size: int(s.size), desc: s.desc, driver: s.driver, device: s.device,
		eventIdx: t.driverFeatures&FeatureEventIdx != 0, indirect: t.driverFeatures&FeatureIndirectDesc != 0,
	}
	return newQueue(n, c, t.driverFeatures&FeatureRingPacked != 0, t, s.kick, &s.stats)
}

// setQueueReset is a write to queue_reset (section 2.6.1).
func (t *PCI) setQueueReset(v uint64) {
	s := t.selected()
	if s == nil || v != 1 || t.driverFeatures&FeatureRingReset == 0 || t.status.Load()&statusFeaturesOK == 0 {
		return
	}
	if s.queue != nil && t.active {
		t.device.StopQueue(int(t.queueSelect))
	}
	s.clear()
}

// reset is a reset of the device by its driver or by the bus.
func (t *PCI) reset() {
	t.device.Reset()
	t.active = false
	t.clearRegisters()
}

func (t *PCI) clearRegisters() {
	for i := range t.slots {
		t.slots[i].clear()
	}
	t.deviceFeatureSelect, t.driverFeatureSelect, t.driverFeatures, t.queueSelect = 0, 0, 0, 0
	t.configVector.Store(noVector)
	t.isr.Store(0)
	// Last: no thread of the device is there to set DEVICE_NEEDS_RESET again.
	t.status.Store(0)
}

// clear gives a queue's registers their values after reset and forgets kicks that nobody took.
func (s *slot) clear() {
	s.queue = nil
	s.size = s.max
	s.desc, s.driver, s.device = 0, 0, 0
	s.vector.Store(noVector)
	s.kick.take()
}

// fail sets DEVICE_NEEDS_RESET and tells a driver that is there (section 2.1.2). It implements queuePort: no lock.
func (t *PCI) fail(err error) {
	t.report(err)
	if was := t.status.Or(statusNeedsReset); was&statusDriverOK != 0 && was&statusNeedsReset == 0 {
		t.interruptConfig()
	}
}

// Failed implements Host.
func (t *PCI) Failed(err error) { t.fail(err) }
