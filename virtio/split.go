package virtio

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"

	"doorbell/guest/memory"
)

// Flags of the two rings (sections 2.7.6 and 2.7.8), without EVENT_IDX.
const (
	availNoInterrupt = 1 << 0
	usedNoNotify     = 1 << 0
)

// split is a split virtqueue (section 2.7).
//
//	descriptors  16 bytes each
//	available    le16 flags, idx, ring[size], used_event      written by the driver
//	used         le16 flags, idx; {le32 id, len}[size]; le16 avail_event      written by the device
type split struct {
	memory   *memory.Memory
	size     uint16
	indirect bool
	eventIdx bool

	desc      []byte
	availRing []byte // ring entries only
	usedRing  []byte // ring entries only

	availFlags, availIdx half
	usedEvent            half
	used                 *atomic.Uint32 // {flags, idx}, both the device's
	availEvent           half

	usedFlags uint16
	// Free-running indices: the next entry to pop, the driver's idx as last seen, the next entry to push, and the idx
	// that the driver has been shown.
	nextAvail, seenAvail uint16
	nextUsed, shownUsed  uint16
	// unsignalled is how many entries were published since needsInterrupt was last asked.
	unsignalled uint32
}

func newSplit(c ringConfig) (*split, error) {
	n := uint64(c.size)
	if c.size < 1 || c.size > maxQueueSize || c.size&(c.size-1) != 0 {
		return nil, fmt.Errorf("size %d is not a power of two up to %d", c.size, maxQueueSize)
	}
	if c.desc%16 != 0 || c.driver%2 != 0 || c.device%4 != 0 {
		return nil, fmt.Errorf("descriptors at %#x, available ring at %#x, used ring at %#x: not aligned to 16, 2 and 4", c.desc, c.driver, c.device)
	}
	s := &split{memory: c.memory, size: uint16(c.size), indirect: c.indirect, eventIdx: c.eventIdx}
	var err error
	if s.desc, err = c.memory.Bytes(c.desc, descSize*n); err != nil {
		return nil, fmt.Errorf("descriptors: %w", err)
	}
	avail, err := words(c.memory, c.driver, 6+2*n)
	if err != nil {
		return nil, fmt.Errorf("available ring: %w", err)
	}
	used, err := words(c.memory, c.device, 6+8*n)
	if err != nil {
		return nil, fmt.Errorf("used ring: %w", err)
	}
	at := int(c.driver % 4)
	s.availFlags, s.availIdx = halfAt(avail, at), halfAt(avail, at+2)
	s.availRing = avail[at+4 : at+4+2*c.size]
	s.usedEvent = halfAt(avail, at+4+2*c.size)
	s.used = word(used, 0)
	s.usedRing = used[4 : 4+8*c.size]
	s.availEvent = halfAt(used, 4+8*c.size)
	return s, nil
}

func (s *split) available() bool { return s.availIdx.load() != s.nextAvail }

func (s *split) pop(c *Chain) (bool, uint16, error) {
	if s.nextAvail == s.seenAvail {
		idx := s.availIdx.load()
		// The driver reuses an entry only after it came back, so that what is here and what is on its way never
		// exceeds the queue; nextUsed counts staged entries too, of which the driver may not know yet.
		if inFlight := s.nextAvail - s.nextUsed; idx-s.nextAvail > s.size-inFlight {
			return false, s.nextAvail, ErrAvailIndex
		}
		if idx == s.nextAvail {
			return false, s.nextAvail, nil
		}
		s.seenAvail = idx
	}
	c.reset()
	at := s.nextAvail
	head := binary.LittleEndian.Uint16(s.availRing[int(at&(s.size-1))*2:])
	if head >= s.size {
		return false, at, ErrHead
	}
	if err := s.walk(c, head); err != nil {
		return false, at, err
	}
	c.id, c.slots = head, 1
	s.nextAvail++
	return true, at, nil
}

// walk follows a chain in the descriptor table.
func (s *split) walk(c *Chain, next uint16) error {
	for range s.size {
		d := readSplit(s.desc[int(next)*descSize:])
		if d.flags&descIndirect != 0 {
			if !s.indirect {
				return ErrIndirect
			}
			if d.flags&descNext != 0 {
				return ErrIndirectChained
			}
			return s.walkIndirect(c, d)
		}
		if err := c.add(s.memory, d); err != nil {
			return err
		}
		if d.flags&descNext == 0 {
			return nil
		}
		if next = d.id; next >= s.size {
			return ErrNext
		}
	}
	return ErrLoop
}

// walkIndirect follows the chain in an indirect table, which starts with its first descriptor (section 2.7.5.3).
func (s *split) walkIndirect(c *Chain, ref descriptor) error {
	table, err := c.table(s.memory, ref)
	if err != nil {
		return err
	}
	n := len(table) / descSize
	next := 0
	for range n {
		d := readSplit(table[next*descSize:])
		if d.flags&descIndirect != 0 {
			return ErrIndirectNested
		}
		if err := c.add(s.memory, d); err != nil {
			return err
		}
		if d.flags&descNext == 0 {
			return nil
		}
		if next = int(d.id); next >= n {
			return ErrNext
		}
	}
	return ErrLoop
}

func (s *split) push(c *Chain, written uint32) {
	e := s.usedRing[int(s.nextUsed&(s.size-1))*8:]
	binary.LittleEndian.PutUint64(e, uint64(c.id)|uint64(written)<<32)
	s.nextUsed++
}

func (s *split) publish() bool {
	n := s.nextUsed - s.shownUsed
	if n == 0 {
		return false
	}
	s.shownUsed = s.nextUsed
	s.unsignalled += uint32(n)
	s.storeUsed()
	return true
}

// storeUsed publishes flags and idx together; entries stored before are visible with it.
func (s *split) storeUsed() { s.used.Store(uint32(s.usedFlags) | uint32(s.shownUsed)<<16) }

func (s *split) needsInterrupt() (published, wanted bool) {
	n := s.unsignalled
	if n == 0 {
		return false, false
	}
	s.unsignalled = 0
	if !s.eventIdx {
		return true, s.availFlags.load()&availNoInterrupt == 0
	}
	// The driver wants to hear when the entry at used_event is used: when it is one of the last n.
	return true, uint32(s.usedEvent.load()-(s.shownUsed-uint16(n))) < n
}

func (s *split) enableKicks() {
	if s.eventIdx {
		s.availEvent.store(s.nextAvail)
		return
	}
	s.usedFlags &^= usedNoNotify
	s.storeUsed()
}

// With EVENT_IDX the driver kicks only for the entry at avail_event, which has passed: nothing needs to be done.
func (s *split) disableKicks() {
	if s.eventIdx || s.usedFlags&usedNoNotify != 0 {
		return
	}
	s.usedFlags |= usedNoNotify
	s.storeUsed()
}
