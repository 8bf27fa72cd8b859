package pci

import "fmt"

// Capability identifiers (PCI Code and ID Assignment Specification, section 2).
const (
	CapPowerManagement = 0x01
	CapMSI             = 0x05
	CapVendorSpecific  = 0x09
	CapExpress         = 0x10
	CapMSIX            = 0x11
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

// AddCapability appends a capability to the list (section 6.7), where there is room, and returns its offset. body is what follows its identifier
// and next pointer; writable are the bits of body that the guest may write, nil for none.
func (f *Function) AddCapability(id byte, body, writable []byte, hooks Hooks) (int, error) {
	at := f.capFree
	return at, f.AddCapabilityAt(at, id, body, writable, hooks)
}

// AddCapabilityAt is AddCapability at an offset, as a device has it whose driver knows more than the list says.
func (f *Function) AddCapabilityAt(at int, id byte, body, writable []byte, hooks Hooks) error {
	size := (2 + len(body) + 3) &^ 3
	if f.attached || at < headerSize || at%4 != 0 || at+size > ConfigSize || len(writable) > len(body) {
		return fmt.Errorf("pci function %s: capability %#x of %d bytes does not fit at %#x", f.Name, id, size, at)
	}
	if h := f.hookAt(at, size); h != nil {
		return fmt.Errorf("pci function %s: capability %#x at %#x overlaps what is at %#x", f.Name, id, at, h.start)
	}
	c := &f.config
	c.bytes[at] = id
	copy(c.bytes[at+2:], body)
	copy(c.writable[at+2:], writable)
	c.bytes[f.capTail] = byte(at)
	c.bytes[regStatus] |= statusCapListMask
	f.capTail = at + 1
	f.capFree = max(f.capFree, at+size)
	f.hooks = append(f.hooks, hook{at, at + size, hooks})
	return nil
}

// HookCommand has accesses to the command and status registers, which are one doubleword, go to hooks, too; before the function is attached. What
// hooks change in the command register has no effect on the bus. What is written to the status register, whose bits are cleared by ones, is for
// AfterWrite to see, and BeforeRead says what it reads as.
func (f *Function) HookCommand(hooks Hooks) {
	f.config.writable[regStatus], f.config.writable[regStatus+1] = 0xff, 0xff
	f.hooks = append(f.hooks, hook{regCommand, regCommand + 4, hooks})
}

// SetInterruptPin says which of the INTx# pins the function uses: 1 is INTA#, 0 none (section 6.2.4).
func (f *Function) SetInterruptPin(pin byte) { f.config.bytes[regInterruptPin] = pin }
