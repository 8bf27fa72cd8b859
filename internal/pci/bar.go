package pci

import (
	"fmt"
	"math/bits"
)

// maxBARs is the number of BAR registers in a header of type 0; a 64-bit BAR takes two.
const maxBARs = 6

// Type bits of a BAR (section 6.2.5.1).
const (
	barPort         = 1 << 0
	barMemory64     = 2 << 1
	barPrefetchable = 1 << 3
	barTypeMask     = 0xf // of a memory BAR
	barPortMask     = 0x3 // of a port BAR
)

// BARKind is what a BAR's addresses are, and how many registers it takes.
type BARKind uint8

// The kinds of BARs.
const (
	Memory64 BARKind = iota // memory, two registers
	Memory32                // memory below 4 GiB
	Port                    // I/O ports
)

func (k BARKind) registers() int {
	if k == Memory64 {
		return 2
	}
	return 1
}

// minBARSize is one page: two BARs that share a page could not be given to different owners. A port BAR has 4 to 256 ports.
const (
	minBARSize  = 4 << 10
	minPortSize = 4
	maxPortSize = 256
)

// BAR is a base address register.
type BAR struct {
	Kind         BARKind
	Index        int    // of its first register
	Size         uint64 // a power of two: 4 KiB or more of memory, or 4 to 256 ports
	Prefetchable bool
	Handler      Handler // answers at the BAR's addresses
	Register     uint64  // bytes that accesses are counted by; 0 is 1

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
	case f.attached || b.Index < 0 || b.Index+b.Kind.registers() > maxBARs || b.function != nil:
		return fmt.Errorf("pci function %s: BAR %d has no room for its registers", f.Name, b.Index)
	case bits.OnesCount64(b.Size) != 1:
		return fmt.Errorf("pci function %s: BAR %d: size %#x is not a power of two", f.Name, b.Index, b.Size)
	case b.Kind != Port && b.Size < minBARSize || b.Kind == Memory32 && b.Size > 1<<31:
		return fmt.Errorf("pci function %s: BAR %d: %#x bytes of memory", f.Name, b.Index, b.Size)
	case b.Kind == Port && (b.Size < minPortSize || b.Size > maxPortSize || b.Prefetchable):
		return fmt.Errorf("pci function %s: BAR %d: %#x ports", f.Name, b.Index, b.Size)
	case b.Handler == nil:
		return fmt.Errorf("pci function %s: BAR %d has no handler", f.Name, b.Index)
	}
	for _, o := range f.bars {
		if b.Index < o.Index+o.Kind.registers() && o.Index < b.Index+b.Kind.registers() {
			return fmt.Errorf("pci function %s: BAR %d is taken", f.Name, b.Index)
		}
	}
	at := regBAR0 + 4*b.Index
	flags := uint32(0)
	switch b.Kind {
	case Memory64:
		flags = barMemory64
	case Port:
		flags = barPort
	}
	if b.Prefetchable {
		flags |= barPrefetchable
	}
	f.config.put32(at, flags)
	// Address bits below the size are fixed at zero: a driver that writes ones
	// reads the size back.
	mask := ^(b.Size - 1)
	f.config.allow32(at, uint32(mask))
	if b.Kind == Memory64 {
		f.config.allow32(at+4, uint32(mask>>32))
	}
	if b.Kind == Port {
		f.config.writable[regCommand] |= commandIO
	}
	b.function = f
	f.bars = append(f.bars, b)
	return nil
}

// BARs are the function's BARs.
func (f *Function) BARs() []*BAR { return f.bars }

// typeMask are the bits of the first register that are no address.
func (b *BAR) typeMask() uint32 {
	if b.Kind == Port {
		return barPortMask
	}
	return barTypeMask
}

// address is what the BAR's registers hold.
func (b *BAR) address(c *config) uint64 {
	at := regBAR0 + 4*b.Index
	base := uint64(c.get32(at) &^ b.typeMask())
	if b.Kind == Memory64 {
		base |= uint64(c.get32(at+4)) << 32
	}
	return base
}

// setAddress stores an address in the BAR's registers.
func (b *BAR) setAddress(c *config, base uint64) {
	at := regBAR0 + 4*b.Index
	c.put32(at, c.get32(at)&b.typeMask()|uint32(base))
	if b.Kind == Memory64 {
		c.put32(at+4, uint32(base>>32))
	}
}
