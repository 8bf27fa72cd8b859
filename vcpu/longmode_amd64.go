package vcpu

import (
	"doorbell/internal/kvm"
)

// LongMode is the state of a processor that enters a program in 64-bit mode with paging on, as the Linux boot protocol
// wants it (Documentation/arch/x86/boot.rst, 64-bit boot protocol).
type LongMode struct {
	RIP, RSP, RSI uint64
	CR3           uint64 // page tables that map the program one to one
	GDTBase       uint64 // a table that holds the two selectors; 0 leaves the register alone
	GDTLimit      uint16
	CodeSelector  uint16
	DataSelector  uint16
}

// Bits of control registers and EFER (Intel SDM volume 3, 2.5 and 2.2.1).
const (
	cr0PE, cr0MP, cr0ET, cr0NE, cr0WP, cr0PG = 1 << 0, 1 << 1, 1 << 4, 1 << 5, 1 << 16, 1 << 31

	cr4PAE             = 1 << 5
	eferLME, eferLMA   = 1 << 8, 1 << 10
	rflagsReserved     = 1 << 1
	typeCode, typeData = 0xb, 0x3 // execute/read, read/write; both accessed (3.4.5.1)
	typeTSS            = 0xb      // busy 64-bit TSS (3.5)
)

// EnterLongMode puts the vCPU at the program's start.
func EnterLongMode(c *kvm.VCPU, m LongMode) error {
	s, err := c.Sregs()
	if err != nil {
		return err
	}
	s.CS = kvm.Segment{Limit: 0xffffffff, Selector: m.CodeSelector, Typ: typeCode, Present: 1, S: 1, L: 1, G: 1}
	data := kvm.Segment{Limit: 0xffffffff, Selector: m.DataSelector, Typ: typeData, Present: 1, DB: 1, S: 1, G: 1}
	s.DS, s.ES, s.FS, s.GS, s.SS = data, data, data, data, data
	// VM entry demands a usable task register (Intel SDM volume 3, 27.3.1.2).
	s.TR = kvm.Segment{Limit: 0x67, Typ: typeTSS, Present: 1}
	if m.GDTBase != 0 {
		s.GDT = kvm.Descriptor{Base: m.GDTBase, Limit: m.GDTLimit}
	}
	s.IDT = kvm.Descriptor{}
	s.CR0 = cr0PE | cr0MP | cr0ET | cr0NE | cr0WP | cr0PG
	s.CR3 = m.CR3
	s.CR4 = cr4PAE
	s.EFER = eferLME | eferLMA
	if err := c.SetSregs(&s); err != nil {
		return err
	}
	return c.SetRegs(&kvm.Regs{RIP: m.RIP, RSP: m.RSP, RSI: m.RSI, RFLAGS: rflagsReserved})
}

// Model-specific registers that firmware would have set (Intel SDM volume 4).
const (
	msrMiscEnable  = 0x1a0
	msrMTRRDefType = 0x2ff

	fastStrings       = 1 << 0
	mtrrEnable        = 1 << 11
	memoryTypeWB      = 6
	mtrrDefaultTypeWB = mtrrEnable | memoryTypeWB
)

// FirmwareMSRs are the registers that Linux expects from firmware: string instructions run fast, and all memory is
// write-back (with MTRRs off, Linux turns the page attribute table off as well).
func FirmwareMSRs() []kvm.MSREntry {
	return []kvm.MSREntry{{Index: msrMiscEnable, Data: fastStrings}, {Index: msrMTRRDefType, Data: mtrrDefaultTypeWB}}
}
