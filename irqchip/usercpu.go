package irqchip

import (
	"fmt"
	"sync/atomic"

	"doorbell/internal/kvm"
	"doorbell/internal/ledger"
	"doorbell/irqchip/lapic"
	"doorbell/vcpu"
)

// userCPU is one vCPU with its local APIC: it implements vcpu.Controller and, for the first, pic.Output.
//
// The turn of its thread:
//
//	         ┌──────────────────────────────────────────────────────────────────────────────┐
//	         ▼                                                                              │
//	Enter    the timer's interrupt, what others have posted, INIT, SIPI, NMI                │
//	         not started, or halted and nothing to take?  sleep until kicked  ──────────────┤
//	         an interrupt is due, and the guest can take it?  KVM_INTERRUPT                 │
//	         it cannot, or another is due?  ask for an interrupt window                     │
//	KVM_RUN                                                                                 │
//	Left     CR8 and IA32_APIC_BASE, which KVM keeps                                        │
//	Memory   the page, and with it EOI, ICR, the timer                                      │
//	Exit     HLT, the x2APIC's MSRs, the window  ───────────────────────────────────────────┘
type userCPU struct {
	user *User
	id   int
	apic *lapic.APIC
	cpu  atomic.Pointer[vcpu.CPU]

	// The thread's own.
	alarm  *alarm
	halted bool   // in HLT
	cr8    uint8  // as KVM was given it
	base   uint64 // IA32_APIC_BASE as KVM had it last
	page   uint64 // of the registers, or noPage

	book      *ledger.Ledger
	registers ledger.DeviceID
	msrs      ledger.DeviceID
}

// noPage is the address of no page.
const noPage = ^uint64(0)

// registerSize is the distance of two registers in the page.
const registerSize = 16

// build makes the local APIC and puts it on the bus.
func (u *userCPU) build(user *User, id int, c Config) (err error) {
	u.user, u.id, u.book = user, id, c.Ledger
	u.apic, err = user.bus.Connect(id, lapic.Config{
		ID: uint32(id), BSP: id == 0, X2APIC: id >= maxXAPICID, Clock: user.clock, PhysBits: c.PhysBits, EOI: user.ioapic.EOI,
	})
	if err != nil {
		return err
	}
	if id == 0 {
		u.apic.VirtualWire()
		u.registers = c.Ledger.AddDevice("lapic", ledger.Memory, lapic.PageSize, registerSize, u.apic.RegisterName)
		u.msrs = c.Ledger.AddDevice("x2apic", ledger.MSR, lapic.PageSize, registerSize, u.apic.RegisterName)
	} else {
		u.registers, u.msrs = user.vcpus[0].registers, user.vcpus[0].msrs
	}
	u.moved()
	u.alarm, err = user.alarms.add(func() { user.kick(id) })
	return err
}

// moved keeps the page's address at hand.
func (u *userCPU) moved() {
	u.base, _ = u.apic.ReadMSR(lapic.MSRAPICBase)
	u.page = noPage
	if at, ok := u.apic.Page(); ok {
		u.page = at
	}
}

// SetINTR implements pic.Output: it is wired to LINT0 of the bootstrap processor.
func (u *userCPU) SetINTR(level bool) {
	if u.apic.Descriptor().LINT(0, level) {
		u.user.kick(u.id)
	}
}

// Setup implements vcpu.Controller: KVM, which has no local APIC, is told where ours is.
func (u *userCPU) Setup(c *vcpu.CPU) error {
	s, err := c.KVM().Sregs()
	if err != nil {
		return err
	}
	s.ApicBase = u.base
	if err := c.KVM().SetSregs(&s); err != nil {
		return err
	}
	u.cpu.Store(c)
	return nil
}

// Enter implements vcpu.Controller.
func (u *userCPU) Enter(c *vcpu.CPU) (run bool, err error) {
	a := u.apic
	a.Expire()
	a.Sync()
	if e := a.Events(); e != (lapic.Events{}) {
		if err := u.events(c, e); err != nil {
			return false, err
		}
	}
	if a.Waiting() {
		u.alarm.set(0, false)
		return false, nil
	}
	window, err := u.inject(c)
	if err != nil {
		return false, err
	}
	u.alarm.set(a.Next())
	if u.halted {
		return false, nil
	}
	c.RequestWindow(window)
	u.cr8 = a.CR8()
	c.Page().SetCR8(u.cr8)
	return true, nil
}

// inject gives the guest the interrupt that is due, if it can take one now. window says that another, or this one, waits until it can.
func (u *userCPU) inject(c *vcpu.CPU) (window bool, err error) {
	a, p := u.apic, c.Page()
	pic := a.ExtINT()
	_, due := a.Pending()
	if !pic && !due {
		return false, nil
	}
	if !p.Ready() || !p.InterruptFlag() {
		return true, nil
	}
	u.halted = false
	if pic {
		a.TakeExtINT()
		if err := c.Inject(u.user.pic.Acknowledge()); err != nil {
			return false, err
		}
	} else {
		v, _ := a.Accept()
		if err := c.Inject(v); err != nil {
			return false, err
		}
	}
	_, due = a.Pending()
	return due || a.ExtINT(), nil
}

// events lets happen to the vCPU what is not an interrupt.
func (u *userCPU) events(c *vcpu.CPU, e lapic.Events) error {
	if e.INIT {
		u.halted = false
		if err := c.Init(); err != nil {
			return fmt.Errorf("INIT: %w", err)
		}
	}
	if e.SIPI {
		u.halted = false
		if err := c.StartUp(e.Vector); err != nil {
			return fmt.Errorf("SIPI %#x: %w", e.Vector, err)
		}
	}
	if e.NMI {
		u.halted = false
		return c.KVM().NMI()
	}
	return nil
}

// Left implements vcpu.Controller.
func (u *userCPU) Left(c *vcpu.CPU) {
	p := c.Page()
	if v := p.CR8(); v != u.cr8 {
		u.apic.SetCR8(v)
	}
	if v := p.APICBase(); v != u.base {
		// KVM has accepted the value, by the same rules (SDM section 11.12.5).
		_ = u.apic.WriteMSR(lapic.MSRAPICBase, v)
		u.moved()
		u.base = v
	}
}

// Memory implements vcpu.Controller.
func (u *userCPU) Memory(addr uint64, write bool, p []byte) bool {
	off := addr - u.page
	if off >= lapic.PageSize || u.page == noPage {
		return false
	}
	u.book.Access(u.id, u.registers, off, write, len(p))
	if write {
		u.apic.Write(off, p)
	} else {
		u.apic.Read(off, p)
	}
	return true
}

// Exit implements vcpu.Controller.
func (u *userCPU) Exit(c *vcpu.CPU, reason uint32) bool {
	switch reason {
	case kvm.ExitHlt:
		u.halted = true
	case kvm.ExitX86Rdmsr, kvm.ExitX86Wrmsr:
		u.msr(c.Page(), reason == kvm.ExitX86Wrmsr)
	case kvm.ExitIrqWindowOpen, kvm.ExitSetTpr:
		// Enter and Left do what there is to do.
	default:
		return false
	}
	return true
}

// msr answers an access to an MSR that KVM refuses. All but those of the local APIC are refused here, too.
func (u *userCPU) msr(p *kvm.RunPage, write bool) {
	index, v := p.MSRAccess()
	if index < lapic.MSRX2APIC || index >= lapic.MSRX2APICEnd {
		u.book.Stray(u.id, ledger.MSR, uint64(index), write, 8)
		p.CompleteMSR(0, true)
		return
	}
	u.book.Access(u.id, u.msrs, uint64(index-lapic.MSRX2APIC)*registerSize, write, 8)
	var err error
	if write {
		err = u.apic.WriteMSR(index, v)
	} else {
		v, err = u.apic.ReadMSR(index)
	}
	p.CompleteMSR(v, err != nil)
}

// LINT1 implements vcpu.Controller.
func (u *userCPU) LINT1() (nmi, served bool) {
	nmi = u.apic.AcceptsNMI()
	d := u.apic.Descriptor()
	d.LINT(1, true)
	d.LINT(1, false)
	return nmi, true
}
