package virtio

import "fmt"

// writeNotify is a kick that the kernel did not take: at an address without an ioeventfd, or of a width that it does not watch. The address
// tells the queue; the value, without VIRTIO_F_NOTIFICATION_DATA, only repeats it.
func (t *PCI) writeNotify(off int, _ []byte) { t.slots[off/notifyMultiplier].kick.signal() }

// moved keeps the ioeventfds where BAR 0 is. A kick without one exits to userspace and is signalled from there.
func (t *PCI) moved(base uint64, decoded bool) {
	if t.doorbells == nil {
		return
	}
	for i := range t.slots {
		s := &t.slots[i]
		addr := base + notifyOffset + uint64(i)*notifyMultiplier
		if decoded == s.doorbell {
			continue
		}
		var err error
		if decoded {
			err = t.doorbells.AddDoorbell(addr, s.kick.fd)
			s.doorbell = err == nil
		} else {
			err = t.doorbells.RemoveDoorbell(addr, s.kick.fd)
			s.doorbell = false
		}
		if err != nil {
			t.report(fmt.Errorf("queue %d: doorbell at %#x: %w", i, addr, err))
		}
	}
}

// interruptQueue implements queuePort. The ISR status tells of queues only while MSI-X is off (section 4.1.4.5.1), for a driver that polls.
func (t *PCI) interruptQueue(n int) bool {
	if !t.msix.Enabled() {
		t.isr.Or(isrQueue)
		return false
	}
	v := t.slots[n].vector.Load()
	if v == noVector {
		return false
	}
	t.msix.Fire(int(v))
	return true
}

func (t *PCI) interruptConfig() {
	t.isr.Or(isrConfig)
	if v := t.configVector.Load(); v != noVector {
		t.msix.Fire(int(v))
	}
}

// ConfigChanged implements Host.
func (t *PCI) ConfigChanged() {
	// config_generation has 8 bits; reads cut it.
	t.generation.Add(1)
	if t.status.Load()&statusDriverOK != 0 {
		t.interruptConfig()
	}
}

// readISR returns the pending causes and clears them.
func (t *PCI) readISR(_ int, p []byte) { p[0] = byte(t.isr.Swap(0)) }

func (t *PCI) readDevice(off int, p []byte)  { t.device.ReadConfig(off, p) }
func (t *PCI) writeDevice(off int, p []byte) { t.device.WriteConfig(off, p) }
