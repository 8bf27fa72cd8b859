package lapic

import "encoding/binary"

// PageSize is the size of the register page of xAPIC mode.
const PageSize = 4096

// xapic says which registers the page has (SDM table 11-1). APR and RRD are there in name: no processor since the P6 has them, but access to
// them is not an error.
var xapic = func() (has [registerEnd]bool) {
	for r := range uint32(registerEnd) {
		switch {
		case r == regID, r == regVersion, r >= regTPR && r <= regESR, r == regICR, r == regICRHigh, r >= regLVT && r < regLVT+lvtEntries,
			r == regTICR, r == regTCCR, r == regTDCR:
			has[r] = true
		}
	}
	return has
}()

// Read serves a guest's read of the page. Registers are the first four bytes of every sixteen. Software must read them whole (section 11.4.1);
// bytes and words of them are served, too, as most processors do. The other bytes read 0. Where there is no page, because the APIC is disabled or
// in x2APIC mode, nothing answers and all bits are 1.
func (a *APIC) Read(off uint64, p []byte) {
	if a.Mode() != XAPIC || off >= PageSize {
		for i := range p {
			p[i] = 0xff
		}
		return
	}
	clear(p)
	r, at := uint32(off/16), off%16
	if at >= 4 {
		return
	}
	if r >= registerEnd || !xapic[r] {
		a.fault(esrIllegalRegister)
		return
	}
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], a.read(r))
	copy(p, b[at:])
}

// Write serves a guest's write to the page. Only an aligned write of 32 bits reaches a register; of a wider one these are the first 32 bits. The
// manual leaves the others undefined, and they are ignored here. So are writes to read-only registers.
func (a *APIC) Write(off uint64, p []byte) {
	if a.Mode() != XAPIC || off >= PageSize || off%16 != 0 || len(p) < 4 {
		return
	}
	r, v := uint32(off/16), binary.LittleEndian.Uint32(p)
	if r >= registerEnd || !xapic[r] {
		a.fault(esrIllegalRegister)
		return
	}
	switch r {
	case regID:
		a.xid = uint8(v >> 24)
		a.move()
	case regLDR:
		a.ldr = uint8(v >> 24)
		a.move()
	case regDFR:
		a.dfr = uint8(v >> 28)
		a.move()
	case regICR:
		a.writeICR(v)
	case regICRHigh:
		a.icrDest = v & icrXDest
	default:
		a.write(r, v)
	}
}
