package pci

import (
	"fmt"
	"math/bits"
)

// maxBARs is the number of BAR registers in a header of type 0; a 64-bit BAR takes two.
const maxBARs = 6

// Type bits of a memory BAR (section 6.2.5.1).
const (
	barMemory64     = 2 << 1
	barPrefetchable = 1 << 3
	barTypeMask     = 0xf
)

// minBARSize is one page: two BARs that share a page could not be given to different owners.
const minBARSize = 4 << 10

// BAR is a 64-bit memory base address register.
type BAR struct {
	Index        int    // of its first register: an even number below 6
	Size         uint64 // a power of two, 4 KiB or more
	Prefetchable bool
	Handler      Handler // answers at the BAR's addresses

	// Moved, if not nil, tells the owner that its BAR is decoded at base from now on, or no longer. It is called with the
	// segment's lock held, after the Decoder mapped the BAR and before it unmaps it.
	Moved func(base uint64, decoded bool)

	function *Function
	base     uint64 // where it is decoded, if decoded
	decoded  bool
}

// Function is the function that the BAR belongs to.
func (b *BAR) Function() *Function { return b.function }

// Name is the BAR's name in errors and reports.
func (b *BAR) Name() string { return fmt.Sprintf("%s BAR %d", b.function.Name, b.Index) }

// AddBAR gives the function a BAR. The caller must not change it any more.
func (f *Function) AddBAR(b *BAR) error {
	switch {
	case f.attached || b.Index < 0 || b.Index+1 >= maxBARs || b.Index%2 != 0 || b.function != nil:
		return fmt.Errorf("pci function %s: BAR %d cannot be a 64-bit one", f.Name, b.Index)
	case b.Size < minBARSize || bits.OnesCount64(b.Size) != 1:
		return fmt.Errorf("pci function %s: BAR %d: size %#x is not a power of two from 4 KiB on", f.Name, b.Index, b.Size)
	case b.Handler == nil:
		return fmt.Errorf("pci function %s: BAR %d has no handler", f.Name, b.Index)
	}
	for _, o := range f.bars {
		if o.Index == b.Index {
			return fmt.Errorf("pci function %s: BAR %d is taken", f.Name, b.Index)
		}
	}
	at := regBAR0 + 4*b.Index
	flags := uint32(barMemory64)
	if b.Prefetchable {
		flags |= barPrefetchable
	}
	f.config.put32(at, flags)
	// Address bits below the size are fixed at zero: a driver that writes ones
	// reads the size back.
	mask := ^(b.Size - 1)
	f.config.allow32(at, uint32(mask))
	f.config.allow32(at+4, uint32(mask>>32))
	b.function = f
	f.bars = append(f.bars, b)
	return nil
}

// BARs are the function's BARs.
func (f *Function) BARs() []*BAR { return f.bars }

// address is what the BAR's registers hold.
func (b *BAR) address(c *config) uint64 {
	at := regBAR0 + 4*b.Index
	return uint64(c.get32(at))&^barTypeMask | uint64(c.get32(at+4))<<32
}

// setAddress stores an address in the BAR's registers.
func (b *BAR) setAddress(c *config, base uint64) {
	at := regBAR0 + 4*b.Index
	c.put32(at, c.get32(at)&barTypeMask|uint32(base))
	c.put32(at+4, uint32(base>>32))
}
