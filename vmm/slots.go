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

	free  []uint32 // below next
	next  uint32
	limit uint32
}

// newSlots are those that guest RAM has left.
func newSlots(vm *kvm.VM, used, limit int) *slots {
	return &slots{vm: vm, next: uint32(used), limit: uint32(limit)}
}

var errNoSlot = errors.New("KVM has no memory slot left")

// Map implements vfio.Slots.
func (s *slots) Map(gpa uint64, host []byte) (slot uint32, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.free) == 0 {
		if s.next == s.limit {
			return 0, errNoSlot
		}
		s.free = append(s.free, s.next)
		s.next++
	}
	last := len(s.free) - 1
	slot = s.free[last]
	if err := s.vm.SetUserMemory(slot, 0, gpa, host); err != nil {
		return 0, err
	}
	s.free = s.free[:last]
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
