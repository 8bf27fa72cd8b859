package pci

import (
	"fmt"
)

// Handler answers accesses to a BAR or to another range of addresses. off is relative to its start; p is 1 to 8 bytes,
// little-endian, in memory that the call borrows. Several vCPUs may call at once, in any width.
type Handler interface {
	Read(off uint64, p []byte)
	Write(off uint64, p []byte)
	// RegisterName names a register in reports.
	RegisterName(off uint64, write bool) string
}

// Identity is how a driver recognises a function.
type Identity struct {
	VendorID, DeviceID          uint16
	SubsystemVendorID           uint16
	SubsystemID                 uint16
	BaseClass, SubClass, ProgIf byte
	RevisionID                  byte
}

// Function is one function: its configuration space, BARs and capabilities. It is built before it is attached; after that the
// segment's lock guards it.
type Function struct {
	Name string // for errors and reports

	config   config
	initial  config // after reset; BARs hold the addresses that Place gave
	bars     []*BAR
	hooks    []hook
	capTail  int // offset of the pointer to the next capability
	capFree  int // where the next capability goes
	onReset  []func()
	address  Address
	attached bool
}

// Address is a function's place on the bus.
type Address struct{ Device, Function int }

func (a Address) String() string { return fmt.Sprintf("00:%02x.%x", a.Device, a.Function) }

// index is the address as the ECAM window counts functions.
func (a Address) index() int { return a.Device<<3 | a.Function }

// NewFunction makes a function without BARs and capabilities.
func NewFunction(name string, id Identity) *Function {
	f := &Function{Name: name, capTail: regCapabilities, capFree: headerSize}
	c := &f.config
	c.put16(regVendorID, id.VendorID)
	c.put16(regDeviceID, id.DeviceID)
	c.bytes[regRevisionID] = id.RevisionID
	c.bytes[regClassCode] = id.ProgIf
	c.bytes[regClassCode+1] = id.SubClass
	c.bytes[regClassCode+2] = id.BaseClass
	c.put16(regSubsystemVendorID, id.SubsystemVendorID)
	c.put16(regSubsystemID, id.SubsystemID)
	c.allow32(regCommand, commandWritable)
	// Scratch registers that firmware and drivers keep notes in.
	c.writable[regCacheLineSize] = 0xff
	c.writable[regInterruptLine] = 0xff
	return f
}

// Address is the function's place on the bus.
func (f *Function) Address() Address { return f.address }

// OnReset adds what a reset of the segment does to the function beyond its configuration space.
func (f *Function) OnReset(do func()) { f.onReset = append(f.onReset, do) }

// piece returns the part of an access that lies within one doubleword. Registers
// with effects are at most that wide, so they see each of their bytes once.
func piece(off, n int) int { return min(n, 4-off&3) }

// read is a configuration read within the configuration space.
func (f *Function) read(off int, p []byte) {
	for len(p) > 0 {
		n := piece(off, len(p))
		if h := f.hookAt(off, n); h != nil && h.BeforeRead != nil {
			h.BeforeRead(f.config.bytes[h.start:h.end], off-h.start, n)
		}
		copy(p[:n], f.config.bytes[off:])
		off, p = off+n, p[n:]
	}
}

// write is a configuration write. moved says that a BAR or its decoding may have changed.
func (f *Function) write(off int, p []byte) (moved bool) {
	for len(p) > 0 {
		n := piece(off, len(p))
		changed := f.config.write(off, p[:n])
		moved = moved || changed && (off < regCommand+2 && off+n > regCommand || off < regBAR0+maxBARs*4 && off+n > regBAR0)
		if h := f.hookAt(off, n); h != nil && h.AfterWrite != nil {
			h.AfterWrite(f.config.bytes[h.start:h.end], off-h.start, n)
		}
		off, p = off+n, p[n:]
	}
	return moved
}

// reset returns to what the function was when it was attached.
func (f *Function) reset() {
	f.config = f.initial
	for _, do := range f.onReset {
		do()
	}
}
