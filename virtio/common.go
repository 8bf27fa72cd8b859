package virtio

import (
	"encoding/binary"
	"fmt"
)

// register is a field of struct virtio_pci_common_cfg (section 4.1.4.3).
type register struct {
	name         string
	offset, size int
	get          func(t *PCI) uint64
	set          func(t *PCI, v uint64) // nil: read-only
}

// commonRegisters are the fields in the order of their offsets. Those of a queue are of the one that queue_select names; if there is none
// they read as 0 and writes are lost.
var commonRegisters = []register{
	{"device_feature_select", 0, 4, func(t *PCI) uint64 { return uint64(t.deviceFeatureSelect) }, func(t *PCI, v uint64) { t.deviceFeatureSelect = uint32(v) }},
	{"device_feature", 4, 4, func(t *PCI) uint64 { return featureWord(t.offered, t.deviceFeatureSelect) }, nil},
	{"driver_feature_select", 8, 4, func(t *PCI) uint64 { return uint64(t.driverFeatureSelect) }, func(t *PCI, v uint64) { t.driverFeatureSelect = uint32(v) }},
	{"driver_feature", 12, 4, func(t *PCI) uint64 { return featureWord(t.driverFeatures, t.driverFeatureSelect) }, (*PCI).setDriverFeature},
	{"config_msix_vector", 16, 2, func(t *PCI) uint64 { return uint64(t.configVector.Load()) }, func(t *PCI, v uint64) { t.configVector.Store(t.vector(v)) }},
	{"num_queues", 18, 2, func(t *PCI) uint64 { return uint64(len(t.slots)) }, nil},
	{"device_status", 20, 1, func(t *PCI) uint64 { return uint64(t.status.Load()) }, (*PCI).setStatus},
	{"config_generation", 21, 1, func(t *PCI) uint64 { return uint64(t.generation.Load()) }, nil},
	{"queue_select", 22, 2, func(t *PCI) uint64 { return uint64(t.queueSelect) }, func(t *PCI, v uint64) { t.queueSelect = uint16(v) }},
	{"queue_size", 24, 2, ofQueue(func(s *slot) uint64 { return uint64(s.size) }), whileDisabled(func(s *slot, v uint64) { s.size = uint16(v) })},
	{"queue_msix_vector", 26, 2, ofQueue(func(s *slot) uint64 { return uint64(s.vector.Load()) }), func(t *PCI, v uint64) {
		if s := t.selected(); s != nil {
			n := t.vector(v)
			s.vector.Store(n)
			if n != noVector {
				s.lastVector.Store(n + 1)
			}
		}
	}},
	{"queue_enable", 28, 2, ofQueue(func(s *slot) uint64 { return bit(s.queue != nil) }), (*PCI).setQueueEnable},
	{"queue_notify_off", 30, 2, func(t *PCI) uint64 {
		if t.selected() == nil {
			return 0
		}
		return uint64(t.queueSelect)
	}, nil},
	{"queue_desc", 32, 8, ofQueue(func(s *slot) uint64 { return s.desc }), whileDisabled(func(s *slot, v uint64) { s.desc = v })},
	{"queue_driver", 40, 8, ofQueue(func(s *slot) uint64 { return s.driver }), whileDisabled(func(s *slot, v uint64) { s.driver = v })},
	{"queue_device", 48, 8, ofQueue(func(s *slot) uint64 { return s.device }), whileDisabled(func(s *slot, v uint64) { s.device = v })},
	// Without VIRTIO_F_NOTIF_CONFIG_DATA nobody looks at it.
	{"queue_notify_data", 56, 2, func(*PCI) uint64 { return 0 }, nil},
	// A reset is complete before the write returns.
	{"queue_reset", 58, 2, func(*PCI) uint64 { return 0 }, (*PCI).setQueueReset},
}

func commonName(off int) string {
	for _, r := range commonRegisters {
		if off >= r.offset && off < r.offset+r.size {
			return r.name
		}
	}
	return fmt.Sprintf("common %#x", off)
}

func bit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// featureWord is the 32 of the feature bits that a select register names.
func featureWord(features uint64, selected uint32) uint64 {
	if selected > 1 {
		return 0
	}
	return features >> (32 * selected) & 0xffffffff
}

func ofQueue(get func(*slot) uint64) func(*PCI) uint64 {
	return func(t *PCI) uint64 {
		if s := t.selected(); s != nil {
			return get(s)
		}
		return 0
	}
}

// whileDisabled is for registers that the driver must not write once the queue is enabled.
func whileDisabled(set func(*slot, uint64)) func(*PCI, uint64) {
	return func(t *PCI, v uint64) {
		if s := t.selected(); s != nil && s.queue == nil {
			set(s, v)
		}
	}
}

func (t *PCI) selected() *slot {
	if int(t.queueSelect) < len(t.slots) {
		return &t.slots[t.queueSelect]
	}
	return nil
}

// vector is what a vector register holds after v was written: the driver reads NO_VECTOR back where there is no such vector.
func (t *PCI) vector(v uint64) uint32 {
	if v >= uint64(t.msix.Len()) {
		return noVector
	}
	return uint32(v)
}

// image is the whole structure as it reads now. The driver should read each field with its own width (section 4.1.3.1); with the image any
// other access gets the bytes that are there.
func (t *PCI) image() (b [commonSize + 8]byte) {
	for i := range commonRegisters {
		r := &commonRegisters[i]
		v := r.get(t)
		for n := range r.size {
			b[r.offset+n] = byte(v >> (8 * n))
		}
	}
	return b
}

func (t *PCI) readCommon(off int, p []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.image()
	copy(p, b[off:])
}

// writeCommon writes the fields that the access touches, lowest first; of one that it touches in part, the other bytes stay as they are.
func (t *PCI) writeCommon(off int, p []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.image()
	copy(b[off:], p)
	for i := range commonRegisters {
		r := &commonRegisters[i]
		if r.set == nil || off >= r.offset+r.size || off+len(p) <= r.offset {
			continue
		}
		var v [8]byte
		copy(v[:r.size], b[r.offset:])
		r.set(t, binary.LittleEndian.Uint64(v[:]))
	}
}

func (t *PCI) setDriverFeature(v uint64) {
	if t.status.Load()&statusFeaturesOK != 0 || t.driverFeatureSelect > 1 {
		return
	}
	shift := 32 * t.driverFeatureSelect
	t.driverFeatures = t.driverFeatures&^(0xffffffff<<shift) | v<<shift
}
