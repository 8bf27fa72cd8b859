package vcpu

import (
	"doorbell/internal/kvm"
)

// What a processor is after INIT (Intel SDM volume 3, table 10-1), for vCPUs whose local APIC is not KVM's: with KVM's, KVM does this.
const (
	resetSelector = 0xf000
	resetBase     = 0xffff0000
	resetIP       = 0xfff0
	resetLimit    = 0xffff
	resetRFLAGS   = 1 << 1
	resetRDX      = 0x600 // family 6: what Linux and firmware look at is CPUID

	cr0ET = 1 << 4
	cr0NW = 1 << 29
	cr0CD = 1 << 30

	typeData = 0x3 // read/write, accessed
	typeCode = 0xb // execute/read, accessed
	typeLDT  = 0x2
)

// Init gives the vCPU its state after INIT, and drops whatever was about to be delivered to it. For a Controller, which decides when the vCPU
// goes on, and where.
func (c *CPU) Init() error {
	// An access that has been served is completed by the next KVM_RUN, which would write its result into the new registers. immediate_exit stays
	// set: what was asked meanwhile is found as after any kick.
	c.page.RequestExit()
	c.kvm.Run()
	s, err := c.kvm.Sregs()
	if err != nil {
		return err
	}
	data := kvm.Segment{Limit: resetLimit, Typ: typeData, Present: 1, S: 1}
	s.CS = kvm.Segment{Selector: resetSelector, Base: resetBase, Limit: resetLimit, Typ: typeCode, Present: 1, S: 1}
	s.DS, s.ES, s.FS, s.GS, s.SS = data, data, data, data, data
	s.TR = kvm.Segment{Limit: resetLimit, Typ: typeBusyTSS, Present: 1}
	s.LDT = kvm.Segment{Limit: resetLimit, Typ: typeLDT, Present: 1}
	s.GDT, s.IDT = kvm.Descriptor{Limit: resetLimit}, kvm.Descriptor{Limit: resetLimit}
	s.CR0 = s.CR0&(cr0CD|cr0NW) | cr0ET
	s.CR2, s.CR3, s.CR4, s.CR8, s.EFER = 0, 0, 0, 0, 0
	s.InterruptBitmap = [len(s.InterruptBitmap)]uint64{}
	for _, step := range []func() error{
		func() error { return c.kvm.SetSregs(&s) },
		func() error { return c.kvm.SetRegs(&kvm.Regs{RDX: resetRDX, RIP: resetIP, RFLAGS: resetRFLAGS}) },
		c.kvm.ForgetEvents,
		c.kvm.ResetDebugRegs,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// StartUp lets a vCPU begin at the page that a start-up IPI names: in real mode at vector<<12 (SDM volume 3, 9.4.4.1).
func (c *CPU) StartUp(vector uint8) error {
	s, err := c.kvm.Sregs()
	if err != nil {
		return err
	}
	s.CS.Selector, s.CS.Base = uint16(vector)<<8, uint64(vector)<<12
	if err := c.kvm.SetSregs(&s); err != nil {
		return err
	}
	r, err := c.kvm.Regs()
	if err != nil {
		return err
	}
	r.RIP = 0
	return c.kvm.SetRegs(&r)
}
