package vmm

import (
	"errors"
	"sync"

	"doorbell/internal/kvm"
)

// slots is KVM's memory slots: guest RAM has the first ones for good; the others come and go with what the guest moves about. It implements
// vfio.Slots.
type slots struct {
	vm *kvm.VM
	mu sync.Mutex // guards what follows, and is held over the ioctl: a slot's number is used again only when its memory has gone

	free  []uint32 // were used before
	next  uint32
	limit uint32
}

var errNoSlot = errors.New("KVM has no memory slot left")

// Map implements vfio.Slots.
func (s *slots) Map(gpa uint64, host []byte) (slot uint32, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch n := len(s.free); {
	case n > 0:
		slot = s.free[n-1]
	case s.next < s.limit:
		slot = s.next
	default:
		return 0, errNoSlot
	}
	if err := s.vm.SetUserMemory(slot, 0, gpa, host); err != nil {
		return 0, err
	}
	if n := len(s.free); n > 0 {
		s.free = s.free[:n-1]
	} else {
		s.next++
	}
	return slot, nil
}

// Unmap implements vfio.Slots. A slot without size is none.
func (s *slots) Unmap(slot uint32, gpa uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.vm.SetUserMemory(slot, 0, gpa, nil); err != nil {
		return err
	}
	s.free = append(s.free, slot)
	return nil
}
