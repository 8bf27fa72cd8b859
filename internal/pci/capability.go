package pci

import "fmt"

// Capability identifiers (PCI Code and ID Assignment Specification, section 2).
const (
	CapVendorSpecific = 0x09
	CapMSIX           = 0x11
)

// Hooks are what accesses to a capability do. Both get the whole capability's bytes, which they may change, and the
// n bytes at off that the access touches, at most 4. They are called with the segment's lock held and must not use the segment.
type Hooks struct {
	BeforeRead func(capability []byte, off, n int)
	AfterWrite func(capability []byte, off, n int)
}

// hook is Hooks for a range of the configuration space.
type hook struct {
	start, end int
	Hooks
}

// hookAt returns the hooks of the capability that n bytes at off belong to: capabilities are whole doublewords, so at most one.
func (f *Function) hookAt(off, n int) *hook {
	for i := range f.hooks {
		if h := &f.hooks[i]; off < h.end && off+n > h.start {
			return h
		}
	}
	return nil
}

// AddCapability appends a capability to the list (section 6.7). body is what follows its identifier and next pointer; writable
// are the bits of body that the guest may write, nil for none. It returns the capability's offset.
func (f *Function) AddCapability(id byte, body, writable []byte, hooks Hooks) (int, error) {
	size := (2 + len(body) + 3) &^ 3
	if f.attached || f.capFree+size > ConfigSize || len(writable) > len(body) {
		return 0, fmt.Errorf("pci function %s: capability %#x of %d bytes does not fit", f.Name, id, size)
	}
	at := f.capFree
	c := &f.config
	c.bytes[at] = id
	copy(c.bytes[at+2:], body)
	copy(c.writable[at+2:], writable)
	c.bytes[f.capTail] = byte(at)
	c.bytes[regStatus] |= statusCapListMask
	f.capTail = at + 1
	f.capFree += size
	f.hooks = append(f.hooks, hook{at, at + size, hooks})
	return at, nil
}
