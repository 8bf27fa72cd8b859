package lapic

// Registers, by their offset in the page divided by 16 or their MSR less 800H (SDM tables 11-1 and 11-6).
const (
	regID       = 0x02
	regVersion  = 0x03
	regTPR      = 0x08
	regAPR      = 0x09
	regPPR      = 0x0a
	regEOI      = 0x0b
	regRRD      = 0x0c // remote read: not in processors since the P6
	regLDR      = 0x0d
	regDFR      = 0x0e
	regSVR      = 0x0f
	regISR      = 0x10 // eight registers
	regTMR      = 0x18 // eight registers
	regIRR      = 0x20 // eight registers
	regESR      = 0x28
	regICR      = 0x30
	regICRHigh  = 0x31
	regLVT      = 0x32 // lvtEntries registers
	regTICR     = 0x38
	regTCCR     = 0x39
	regTDCR     = 0x3e
	regSELFIPI  = 0x3f
	registerEnd = 0x40
)

// version: an integrated APIC of a processor with x2APIC, whose EOI broadcasts can be suppressed (section 11.4.8).
const version = 0x14 | (lvtEntries-1)<<16 | versionDirectedEOI

const versionDirectedEOI = 1 << 24

// Fields of SVR (section 11.9). Bit 9, focus processor checking, is reserved since the Pentium 4.
const (
	svrVector      = 0xff
	svrEnable      = 1 << 8
	svrNoBroadcast = 1 << 12
	svrWritable    = svrVector | svrEnable | svrNoBroadcast
	svrReset       = 0xff
)

// Models in DFR, bits 31:28. The others are undefined and match nothing.
const (
	dfrFlat    = 0xf
	dfrCluster = 0x0
)

// tdcrWritable are the bits of TDCR (section 11.5.4); bit 2 is reserved and 0.
const tdcrWritable = 0xb

// read is the value of a register that can be read, in xAPIC or x2APIC mode. Reading changes nothing but that the timer catches up.
func (a *APIC) read(r uint32) uint32 {
	x2 := a.base&baseEXTD != 0
	switch {
	case r >= regISR && r < regISR+8:
		return a.isr.register(int(r - regISR))
	case r >= regTMR && r < regTMR+8:
		return a.tmr.register(int(r - regTMR))
	case r >= regIRR && r < regIRR+8:
		return a.irr.register(int(r - regIRR))
	case r >= regLVT && r < regLVT+lvtEntries:
		return a.lvt[r-regLVT]
	}
	switch r {
	case regID:
		if x2 {
			return a.cfg.ID
		}
		return uint32(a.xid) << 24
	case regVersion:
		return version
	case regTPR:
		return uint32(a.tpr)
	case regAPR:
		return uint32(a.apr())
	case regPPR:
		return uint32(a.ppr())
	case regLDR:
		if x2 {
			return logicalX2(a.cfg.ID)
		}
		return uint32(a.ldr) << 24
	case regDFR:
		return uint32(a.dfr)<<28 | 0x0fffffff
	case regSVR:
		return a.svr
	case regESR:
		return a.errors.logged
	case regICR:
		return a.icr
	case regICRHigh:
		return a.icrDest
	case regTICR:
		return a.timer.ticr
	case regTCCR:
		return a.tccr()
	case regTDCR:
		return a.timer.tdcr
	}
	return 0 // EOI and RRD
}

// write is a write to a register that can be written; bits that are reserved in v are ignored. The registers that exist in one of the two modes
// only, and ICR, are the business of the callers.
func (a *APIC) write(r, v uint32) {
	switch r {
	case regLVT + lvtTimer, regLVT + lvtThermal, regLVT + lvtPerfMon, regLVT + lvtLINT0, regLVT + lvtLINT1, regLVT + lvtError:
		a.writeLVT(int(r-regLVT), v)
	case regTPR:
		a.tpr = uint8(v)
	case regEOI:
		a.writeEOI()
	case regSVR:
		a.writeSVR(v)
	case regESR:
		a.writeESR()
	case regTICR:
		a.writeTICR(v)
	case regTDCR:
		a.writeTDCR(v)
	}
}

// enabled says whether the APIC takes vectors: it does not while it is disabled in hardware or by software.
func (a *APIC) enabled() bool { return a.base&baseEN != 0 && a.svr&svrEnable != 0 }

// writeSVR enables and disables the APIC by software (section 11.4.7.2). What was posted before it was disabled has been accepted and stays
// in IRR; what comes while it is disabled is lost. NMI, SMI, INIT and SIPI come through.
func (a *APIC) writeSVR(v uint32) {
	was := a.svr
	a.svr = v & svrWritable
	switch {
	case was&^v&svrEnable != 0:
		a.desc.accepting.Store(false)
		a.takePosted()
		a.Expire()
		for i := range a.lvt {
			a.lvt[i] |= lvtMask
		}
	case v&^was&svrEnable != 0:
		a.discardPosted()
		a.desc.accepting.Store(true)
	}
}

// names are the registers' names for reports.
var names = [registerEnd]string{
	regID: "ID", regVersion: "version", regTPR: "TPR", regAPR: "APR", regPPR: "PPR", regEOI: "EOI", regRRD: "RRD", regLDR: "LDR",
	regDFR: "DFR", regSVR: "SVR", regESR: "ESR", regICR: "ICR", regICRHigh: "ICR high", regLVT + lvtTimer: "LVT timer",
	regLVT + lvtThermal: "LVT thermal", regLVT + lvtPerfMon: "LVT perfmon", regLVT + lvtLINT0: "LVT LINT0",
	regLVT + lvtLINT1: "LVT LINT1", regLVT + lvtError: "LVT error", regTICR: "TICR", regTCCR: "TCCR", regTDCR: "TDCR",
	regSELFIPI: "SELF IPI",
}

// RegisterName names the register at an offset of the page for reports, or of the MSR 800H + offset/16.
func (a *APIC) RegisterName(off uint64, _ bool) string {
	switch r := off / 16; {
	case r >= registerEnd:
	case r >= regISR && r < regTMR:
		return "ISR"
	case r >= regTMR && r < regIRR:
		return "TMR"
	case r >= regIRR && r < regESR:
		return "IRR"
	case names[r] != "":
		return names[r]
	}
	return "reserved"
}
