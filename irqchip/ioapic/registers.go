package ioapic

import (
	"encoding/binary"
	"fmt"
)

// Size is the number of bytes that the chip decodes, from BaseAddress in a PC.
const (
	Size        = 0x100
	BaseAddress = 0xfec00000
)

// Directly addressed registers (82093AA section 3.1; ICH9 section 13.5.1).
const (
	offIOREGSEL = 0x00 // bits 7:0 select the register behind IOWIN
	offIOWIN    = 0x10
	offEOI      = 0x40 // write-only, bits 7:0 are the vector
)

// Registers behind IOWIN (82093AA section 3.2). Those that are not here are reserved: they read 0 and ignore writes.
const (
	indexIOAPICID  = 0x00
	indexIOAPICVER = 0x01
	indexIOAPICARB = 0x02
	indexIOREDTBL  = 0x10 // two for each pin: the lower half, the upper half
	indexEnd       = indexIOREDTBL + 2*Pins
)

const (
	// version has the number of the last entry in bits 23:16. 20h is the first version with an EOI register, which is how guests know
	// that they have one.
	version = (Pins-1)<<16 | 0x20

	idField      = 0xf << 24
	idScratchpad = 1 << 15 // ICH9 section 13.5.5
)

// Read serves a guest's read at an offset into the window. The data sheets want IOWIN read as a doubleword; a narrower read gets those
// of its bytes that it covers, and a wider one zeros beyond them. EOI and all that is reserved read 0. Nothing has a side effect.
func (c *IOAPIC) Read(off uint64, p []byte) {
	clear(p)
	if off >= Size {
		return
	}
	end := off + uint64(len(p))
	if off < offIOREGSEL+4 {
		put(p, off, offIOREGSEL, c.sel.Load())
	}
	if off < offIOWIN+4 && end > offIOWIN {
		put(p, off, offIOWIN, c.register(c.sel.Load()))
	}
}

// put copies the bytes of v, a register at offset at, that p, an access at offset off, covers.
func put(p []byte, off, at uint64, v uint32) {
	for i := range uint64(4) {
		// A byte before the access has a huge index.
		if j := at + i - off; j < uint64(len(p)) {
			p[j] = byte(v >> (8 * i))
		}
	}
}

// Write serves a guest's write. IOREGSEL and EOI have only 8 bits, so that any access that covers them will do; firmware does write
// IOREGSEL by bytes. IOWIN must be written as a doubleword: a write that covers only some of its bytes is ignored. A wider write is
// its doublewords, one after the other.
func (c *IOAPIC) Write(off uint64, p []byte) {
	if off >= Size {
		return
	}
	end := off + uint64(len(p))
	covers := func(at, n uint64) bool { return off <= at && at+n <= end }
	if covers(offIOREGSEL, 1) {
		c.sel.Store(uint32(p[offIOREGSEL-off]))
	}
	if covers(offIOWIN, 4) {
		c.writeRegister(c.sel.Load(), binary.LittleEndian.Uint32(p[offIOWIN-off:]))
	}
	if covers(offEOI, 1) {
		c.EOI(p[offEOI-off])
	}
}

// register reads the register with this index.
func (c *IOAPIC) register(index uint32) uint32 {
	switch {
	case index == indexIOAPICID:
		return c.id.Load()
	case index == indexIOAPICVER:
		return version
	case index == indexIOAPICARB:
		// Loaded when IOAPICID is written, and without a bus nobody wins an arbitration and changes it.
		return c.id.Load() & idField
	case index >= indexIOREDTBL && index < indexEnd:
		e := c.RTE(int(index-indexIOREDTBL) / 2)
		return uint32(e >> (32 * (index & 1)))
	}
	return 0
}

// writeRegister writes the register with this index. IOAPICVER and IOAPICARB are read-only.
func (c *IOAPIC) writeRegister(index, v uint32) {
	switch {
	case index == indexIOAPICID:
		c.id.Store(v & (idField | idScratchpad))
	case index >= indexIOREDTBL && index < indexEnd:
		shift := 32 * (index & 1)
		c.writeRTE(int(index-indexIOREDTBL)/2, RTE(v)<<shift, rteWritable&(0xffffffff<<shift))
	}
}

// RegisterName names the register at an offset for reports.
func (c *IOAPIC) RegisterName(off uint64, _ bool) string {
	switch off &^ 3 {
	case offIOREGSEL:
		return "IOREGSEL"
	case offIOWIN:
		return "IOWIN"
	case offEOI:
		return "EOI"
	}
	return fmt.Sprintf("0x%x", off)
}
