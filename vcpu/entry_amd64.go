package vcpu

import (
	"doorbell/guest"
	"doorbell/internal/kvm"
)

// typeBusyTSS is the type of a task register that VM entry accepts (Intel SDM volume 3, 3.5 and 27.3.1.2).
const typeBusyTSS = 0xb

// Enter puts the vCPU at a guest's entry point.
func Enter(c *kvm.VCPU, e guest.Entry) error {
	s, err := c.Sregs()
	if err != nil {
		return err
	}
	data := segment(e.DS)
	s.CS, s.DS, s.ES, s.FS, s.GS, s.SS = segment(e.CS), data, data, data, data, data
	s.TR = kvm.Segment{Limit: 0x67, Typ: typeBusyTSS, Present: 1}
	s.GDT = kvm.Descriptor{Base: e.GDTBase, Limit: e.GDTLimit}
	s.IDT = kvm.Descriptor{}
	s.CR0, s.CR3, s.CR4, s.EFER = e.CR0, e.CR3, e.CR4, e.EFER
	if err := c.SetSregs(&s); err != nil {
		return err
	}
	return c.SetRegs(&kvm.Regs{RIP: e.RIP, RAX: e.RAX, RBX: e.RBX, RSP: e.RSP, RSI: e.RSI, RFLAGS: e.RFLAGS})
}

func segment(s guest.Segment) kvm.Segment {
	return kvm.Segment{
		Base: s.Base, Limit: s.Limit, Selector: s.Selector, Typ: s.Type, Present: s.P, DPL: s.DPL, DB: s.DB, S: s.S, L: s.L, G: s.G, AVL: s.AVL,
	}
}

// Model-specific registers that firmware would have set (Intel SDM volume 4).
const (
	msrMiscEnable  = 0x1a0
	msrMTRRDefType = 0x2ff

	fastStrings  = 1 << 0
	mtrrEnable   = 1 << 11
	memoryTypeWB = 6
)

// FirmwareMSRs are the registers that Linux expects from firmware: string instructions run fast, and all memory is
// write-back (with MTRRs off, Linux turns the page attribute table off as well).
func FirmwareMSRs() []kvm.MSREntry {
	return []kvm.MSREntry{{Index: msrMiscEnable, Data: fastStrings}, {Index: msrMTRRDefType, Data: mtrrEnable | memoryTypeWB}}
}
