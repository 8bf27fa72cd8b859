package pci

import (
	"fmt"
	"sync"
)

// Dimensions of a bus.
const (
	numDevices   = 32
	numFunctions = 8
)

// Window is a range of guest-physical addresses, or of ports, that the bridge hands to the bus. BARs are decoded nowhere else, so that no
// BAR reaches RAM, an interrupt controller or the ECAM window.
type Window struct {
	Base, Size uint64
	Ports      bool
}

// holds says whether a BAR at base lies within the window.
func (w Window) holds(b *BAR, base uint64) bool {
	switch {
	case w.Ports != (b.Kind == Port) || b.Kind == Memory32 && base+b.Size > 1<<32:
		return false
	}
	return base >= w.Base && base-w.Base < w.Size && b.Size <= w.Size-(base-w.Base)
}

// Decoder is the machine's address map. Its methods are called with the segment's lock held, on the vCPU thread that wrote the
// register, and must not use the segment.
type Decoder interface {
	// Map makes addresses [base, base+b.Size) reach b.Handler. After an error the BAR is not decoded, as on a bus
	// where something else claims the address; it is tried again at the next change.
	Map(b *BAR, base uint64) error
	// Unmap undoes Map. Accesses under way may still reach the handler.
	Unmap(b *BAR, base uint64)
}

// Segment is a PCI segment with one bus, bus 0, behind a host bridge at 00:00.0.
type Segment struct {
	decoder Decoder
	windows []Window

	// mu is held during configuration accesses. Locks of functions (such as MSI-X's) and of the Decoder are taken inside
	// it, never around it.
	mu        sync.Mutex
	functions [numDevices * numFunctions]*Function
	refused   uint64
}

// NewSegment makes a segment whose only function is the host bridge. Windows must not overlap.
func NewSegment(d Decoder, windows ...Window) (*Segment, error) {
	for _, w := range windows {
		if w.Size == 0 || w.Base == 0 || w.Base+w.Size < w.Base || w.Ports && w.Base+w.Size > 1<<16 {
			return nil, fmt.Errorf("pci window %#x+%#x is not a range", w.Base, w.Size)
		}
	}
	s := &Segment{decoder: d, windows: windows}
	return s, s.Attach(Address{}, newHostBridge())
}

// newHostBridge is a bridge with nothing to configure. Its identity is one that guests' quirk tables leave alone and that
// Linux's check for a sane configuration mechanism accepts by its class.
func newHostBridge() *Function {
	return NewFunction("host bridge", Identity{VendorID: 0x8086, DeviceID: 0x0d57, BaseClass: 0x06})
}

// Attach puts a function on the bus; before the guest runs.
func (s *Segment) Attach(a Address, f *Function) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.Device < 0 || a.Device >= numDevices || a.Function < 0 || a.Function >= numFunctions {
		return fmt.Errorf("pci function %s: there is no address %s", f.Name, a)
	}
	if o := s.functions[a.index()]; o != nil || f.attached {
		return fmt.Errorf("pci function %s: cannot be attached at %s: taken or attached before", f.Name, a)
	}
	f.address, f.attached, f.initial = a, true, f.config
	s.functions[a.index()] = f
	// A device with several functions says so in its function 0 (section 6.2.1).
	if first := s.functions[a.Device<<3]; first != nil {
		for n := 1; n < numFunctions; n++ {
			if s.functions[a.Device<<3|n] != nil {
				first.config.bytes[regHeaderType] |= headerMultiFunction
				first.initial.bytes[regHeaderType] |= headerMultiFunction
			}
		}
	}
	return nil
}

// Detach takes a function off the bus while the guest runs, as pulling it out does: its BARs answer no more and its configuration space floats.
func (s *Segment) Detach(f *Function) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := f.address.index(); f.attached && s.functions[i] == f {
		for _, b := range f.bars {
			s.undecode(b)
		}
		s.functions[i] = nil
		s.decode() // what it kept from being decoded
	}
}

// Header type register.
const (
	regHeaderType       = 0x0e
	headerMultiFunction = 1 << 7
)

// Reset is the bus's reset: configuration spaces are as Place left them, nothing is decoded.
func (s *Segment) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.functions {
		if f == nil {
			continue
		}
		for _, b := range f.bars {
			s.undecode(b)
		}
		f.reset()
	}
}

// Refused is how often a BAR that the guest enabled was not decoded, because it was outside the windows or over another one.
func (s *Segment) Refused() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused
}

// access is a configuration access to n bytes at a function's register. What does not exist floats.
func (s *Segment) access(index, register int, write bool, p []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.functions[index]
	in := 0
	if f != nil && register < ConfigSize {
		in = min(len(p), ConfigSize-register)
	}
	if write {
		if in > 0 && f.write(register, p[:in]) {
			s.decode()
		}
		return
	}
	if in > 0 {
		f.read(register, p[:in])
	}
	fill(p[in:])
}

// fill is what a read returns where nobody answers.
func fill(p []byte) {
	for i := range p {
		p[i] = 0xff
	}
}
