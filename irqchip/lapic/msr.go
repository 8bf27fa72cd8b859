package lapic

import "errors"

// MSRs of the APIC.
const (
	MSRAPICBase    = 0x1b  // IA32_APIC_BASE
	MSRTSCDeadline = 0x6e0 // IA32_TSC_DEADLINE
	MSRX2APIC      = 0x800 // the first of the x2APIC registers
	MSRX2APICEnd   = 0x900 // one past the range that is theirs, reserved ones included
)

// ErrGP is what RDMSR or WRMSR of an APIC register may end in: the caller injects a general-protection exception with error code 0.
var ErrGP = errors.New("lapic: general-protection exception")

// IsMSR says whether an MSR is the APIC's.
func IsMSR(index uint32) bool {
	return index == MSRAPICBase || index == MSRTSCDeadline || index >= MSRX2APIC && index < MSRX2APICEnd
}

// x2register is what RDMSR and WRMSR may do with a register in x2APIC mode (SDM table 11-6 and section 11.12.1.3).
type x2register struct {
	readable, writable bool
	bits               uint64 // that may be 1 in a write
}

// x2apic lacks APR, RRD, DFR and the ICR's upper half, which the page has. Read-only bits in a writable register may be written: they are not
// reserved. ICR's bit 12 is the delivery status in xAPIC mode, and reserved here by the manual; processors ignore it.
var x2apic = func() (t [registerEnd]x2register) {
	for r := regISR; r < regESR; r++ {
		t[r].readable = true
	}
	for _, r := range []int{regID, regVersion, regPPR, regLDR, regTCCR} {
		t[r].readable = true
	}
	for e, bits := range lvtWritable {
		if e == lvtLINT0 || e == lvtLINT1 {
			bits |= lvtRemoteIRR
		}
		t[regLVT+e] = x2register{true, true, uint64(bits | lvtStatus)}
	}
	t[regTPR] = x2register{true, true, 0xff}
	t[regEOI] = x2register{false, true, 0}
	t[regSVR] = x2register{true, true, svrWritable}
	t[regESR] = x2register{true, true, 0}
	t[regICR] = x2register{true, true, 0xffffffff<<32 | icrWritable | icrStatus}
	t[regTICR] = x2register{true, true, 0xffffffff}
	t[regTDCR] = x2register{true, true, tdcrWritable}
	t[regSELFIPI] = x2register{false, true, 0xff}
	return t
}()

// ReadMSR is a guest's RDMSR.
func (a *APIC) ReadMSR(index uint32) (uint64, error) {
	switch {
	case index == MSRAPICBase:
		return a.base, nil
	case index == MSRTSCDeadline && a.cfg.TSCHz != 0:
		return a.readDeadline(), nil
	}
	r := index - MSRX2APIC
	if a.Mode() != X2APIC || r >= registerEnd || !x2apic[r].readable {
		return 0, ErrGP
	}
	if r == regICR {
		return uint64(a.icrDest)<<32 | uint64(a.icr), nil
	}
	return uint64(a.read(r)), nil
}

// WriteMSR is a guest's WRMSR. With an error, nothing has changed.
func (a *APIC) WriteMSR(index uint32, v uint64) error {
	switch {
	case index == MSRAPICBase:
		return a.writeBase(v)
	case index == MSRTSCDeadline && a.cfg.TSCHz != 0:
		a.writeDeadline(v)
		return nil
	}
	r := index - MSRX2APIC
	if a.Mode() != X2APIC || r >= registerEnd || !x2apic[r].writable || v&^x2apic[r].bits != 0 {
		return ErrGP
	}
	switch r {
	case regICR:
		a.icrDest = uint32(v >> 32)
		a.writeICR(uint32(v))
	case regSELFIPI:
		a.writeSelfIPI(uint8(v))
	case regLVT + lvtTimer:
		if uint32(v)&^(a.writable(lvtTimer)|lvtReadOnly) != 0 {
			return ErrGP
		}
		a.writeLVT(lvtTimer, uint32(v))
	default:
		a.write(r, uint32(v))
	}
	return nil
}
