package virtio

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"

	"doorbell/guest/memory"
)

// Flags of the event suppression structures (section 2.8.14), in the upper half of their word.
const (
	eventEnable  = 0
	eventDisable = 1
	eventDesc    = 2 // with EVENT_IDX only
	eventMask    = 3
)

// packed is a packed virtqueue (section 2.8): one ring of descriptors that driver and device both write, and an event suppression
// structure {le16 off_wrap, flags} for each side.
type packed struct {
	memory   *memory.Memory
	size     uint16
	indirect bool
	eventIdx bool

	desc        []byte
	driverEvent *atomic.Uint32 // what the driver wants to hear; only it writes
	deviceEvent *atomic.Uint32 // what the device wants to hear; only it writes

	// The next entry to pop, the next to push, and how far the driver has been shown used entries.
	avail, used, shown position
	inFlight           uint16 // entries popped and not yet pushed

	// The first descriptor of a batch is written last: the driver reads in order and sees none of the batch before it.
	staged     bool
	firstAt    uint16
	firstFlags uint32 // its {id, flags}
	pushed     uint32 // entries staged

	// unsignalled is how many entries were published since needsInterrupt was last asked.
	unsignalled uint32
	event       uint32 // last stored to deviceEvent
}

// position is an index into the ring with its wrap counter (section 2.8.1).
type position struct {
	index uint16
	wrap  bool
}

// advance moves on by n entries, at most size.
func (p *position) advance(n, size uint16) {
	if p.index += n; p.index >= size {
		p.index -= size
		p.wrap = !p.wrap
	}
}

// offWrap is the position as event suppression structures hold it.
func (p position) offWrap() uint32 {
	if p.wrap {
		return uint32(p.index) | 1<<15
	}
	return uint32(p.index)
}

// linear counts the position around the ring twice, once for each value of the wrap counter.
func (p position) linear(size uint16) uint32 {
	if p.wrap {
		return uint32(p.index)
	}
	return uint32(p.index) + uint32(size)
}

func newPacked(c ringConfig) (*packed, error) {
	if c.size < 1 || c.size > maxQueueSize {
		return nil, fmt.Errorf("size %d is not within 1 to %d", c.size, maxQueueSize)
	}
	if c.desc%16 != 0 || c.driver%4 != 0 || c.device%4 != 0 {
		return nil, fmt.Errorf("descriptors at %#x, event suppression at %#x and %#x: not aligned to 16, 4 and 4", c.desc, c.driver, c.device)
	}
	p := &packed{memory: c.memory, size: uint16(c.size), indirect: c.indirect, eventIdx: c.eventIdx, avail: position{0, true}, used: position{0, true}, shown: position{0, true}}
	var err error
	if p.desc, err = c.memory.Bytes(c.desc, descSize*uint64(c.size)); err != nil {
		return nil, fmt.Errorf("descriptors: %w", err)
	}
	driver, err := words(c.memory, c.driver, 4)
	if err != nil {
		return nil, fmt.Errorf("driver event suppression: %w", err)
	}
	device, err := words(c.memory, c.device, 4)
	if err != nil {
		return nil, fmt.Errorf("device event suppression: %w", err)
	}
	p.driverEvent, p.deviceEvent = word(driver, 0), word(device, 0)
	return p, nil
}

// flags is the aligned word {id, flags} of a descriptor.
func (p *packed) flags(at uint16) *atomic.Uint32 { return word(p.desc, int(at)*descSize+12) }

// available says whether the descriptor at the avail position belongs to the device: its avail flag is the wrap counter, its used flag
// is not.
func (p *packed) available() bool {
	f := p.flags(p.avail.index).Load() >> 16
	return (f&descAvail != 0) == p.avail.wrap && (f&descUsed != 0) != p.avail.wrap
}

func (p *packed) pop(c *Chain) (bool, uint16, error) {
	at := p.avail
	if !p.available() {
		return false, at.index, nil
	}
	// The driver makes a chain's first descriptor available last, so that the
	// others are there once it is.
	c.reset()
	next := at.index
	for {
		if c.slots == p.size-p.inFlight {
			if c.slots == 0 {
				return false, at.index, ErrAvailIndex
			}
			return false, at.index, ErrLoop
		}
		c.slots++
		d := readPacked(p.desc[int(next)*descSize:])
		if d.flags&descIndirect != 0 {
			if !p.indirect {
				return false, at.index, ErrIndirect
			}
			if d.flags&descNext != 0 {
				return false, at.index, ErrIndirectChained
			}
			if err := p.readIndirect(c, d); err != nil {
				return false, at.index, err
			}
		} else if err := c.add(p.memory, d); err != nil {
			return false, at.index, err
		}
		if d.flags&descNext == 0 {
			c.id = d.id
			break
		}
		if next++; next == p.size {
			next = 0
		}
	}
	p.inFlight += c.slots
	p.avail.advance(c.slots, p.size)
	return true, at.index, nil
}

// readIndirect reads an indirect table, all of whose descriptors make up the buffer in their order; of their flags only WRITE
// counts (section 2.8.7).
func (p *packed) readIndirect(c *Chain, ref descriptor) error {
	table, err := c.table(p.memory, ref)
	if err != nil {
		return err
	}
	for ; len(table) > 0; table = table[descSize:] {
		d := readPacked(table)
		if d.flags&descIndirect != 0 {
			return ErrIndirectNested
		}
		if err := c.add(p.memory, d); err != nil {
			return err
		}
	}
	return nil
}

func (p *packed) push(c *Chain, written uint32) {
	at := p.used.index
	flags := uint32(c.id)
	if p.used.wrap {
		flags |= (descAvail | descUsed) << 16
	}
	if written > 0 {
		flags |= descWrite << 16
	}
	binary.LittleEndian.PutUint32(p.desc[int(at)*descSize+8:], written)
	if p.staged {
		p.flags(at).Store(flags)
	} else {
		p.staged, p.firstAt, p.firstFlags = true, at, flags
	}
	p.pushed += uint32(c.slots)
	p.inFlight -= c.slots
	p.used.advance(c.slots, p.size)
}

func (p *packed) publish() bool {
	if !p.staged {
		return false
	}
	p.flags(p.firstAt).Store(p.firstFlags)
	p.staged, p.shown = false, p.used
	p.unsignalled += p.pushed
	p.pushed = 0
	return true
}

func (p *packed) needsInterrupt() (published, wanted bool) {
	n := p.unsignalled
	if n == 0 {
		return false, false
	}
	p.unsignalled = 0
	e := p.driverEvent.Load()
	switch flags := e >> 16 & eventMask; {
	case flags == eventDisable:
		return true, false
	case flags != eventDesc || !p.eventIdx:
		return true, true
	}
	// The driver wants to hear when the entry at its offset is used: when it is one of the last n.
	size := uint32(p.size)
	at := position{uint16(e & 0x7fff), e&(1<<15) != 0}
	if at.index >= p.size || n >= 2*size {
		return true, true
	}
	start := p.shown.linear(p.size) + 2*size - n
	return true, (at.linear(p.size)+4*size-start)%(2*size) < n
}

func (p *packed) enableKicks() {
	e := uint32(eventEnable) << 16
	if p.eventIdx {
		e = eventDesc<<16 | p.avail.offWrap()
	}
	p.event = e
	p.deviceEvent.Store(e)
}

func (p *packed) disableKicks() {
	if e := uint32(eventDisable) << 16; p.event != e {
		p.event = e
		p.deviceEvent.Store(e)
	}
}
