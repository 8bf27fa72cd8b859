package vcpu

import (
	"fmt"

	"doorbell/internal/kvm"

	"golang.org/x/arch/x86/x86asm"
)

// failed turns an exit that the loop does not serve into the reason why the guest cannot go on.
func (c *CPU) failed(reason uint32) Stop {
	s := Stop{VCPU: c.cfg.ID, Kind: Unexpected}
	switch reason {
	case kvm.ExitShutdown:
		s.Kind = TripleFault
		s.Detail = "triple fault" + c.positionBeforeReset()
	case kvm.ExitFailEntry:
		s.Kind = EntryFailed
		s.Detail = fmt.Sprintf("the processor refused to enter the guest, hardware reason %#x%s", c.page.EntryFailure(), c.position(nil))
	case kvm.ExitUnknown:
		s.Detail = fmt.Sprintf("unknown hardware exit %#x%s", c.page.UnknownExit(), c.position(nil))
	case kvm.ExitHlt:
		s.Kind = Halted
		s.Detail = "halted" + c.position(nil)
	case kvm.ExitInternalError:
		sub, insn := c.page.InternalError()
		s.Kind = InternalError
		s.Detail = fmt.Sprintf("KVM internal error %d%s", sub, c.position(insn))
		if sub == kvm.InternalErrorEmulation {
			s.Kind = Emulation
			s.Detail = "KVM cannot emulate an instruction" + c.position(insn)
		}
	case kvm.ExitSystemEvent:
		switch ev := c.page.SystemEvent(); ev {
		case kvm.SystemEventShutdown:
			s.Kind, s.Detail = SystemOff, "system event: shutdown"
		case kvm.SystemEventReset:
			s.Kind, s.Detail = SystemReset, "system event: reset"
		case kvm.SystemEventCrash:
			s.Kind, s.Detail = SystemCrash, "system event: crash"
		default:
			s.Detail = fmt.Sprintf("system event %d", ev)
		}
	default:
		s.Detail = fmt.Sprintf("unexpected exit %s%s", kvm.ExitName(reason), c.position(nil))
	}
	return s
}

// positionBeforeReset is the position, unless the vCPU's state is that of a reset: after SVM's shutdown intercept the VMCB is undefined
// (AMD APM volume 2, 15.14.3), so that KVM resets the vCPU before it tells us.
func (c *CPU) positionBeforeReset() string {
	const resetRIP, resetCS = 0xfff0, 0xf000
	regs, err := c.kvm.Regs()
	if err != nil {
		return ""
	}
	sregs, err := c.kvm.Sregs()
	if err == nil && regs.RIP == resetRIP && sregs.CS.Selector == resetCS {
		return " (an AMD processor does not keep where)"
	}
	return c.position(nil)
}

// position is " at RIP ...: instruction (bytes)" for the guest's present position, or empty if its registers cannot be read.
// insn are the instruction's bytes if KVM gave them; otherwise they are read from guest memory.
func (c *CPU) position(insn []byte) string {
	regs, err := c.kvm.Regs()
	if err != nil {
		return ""
	}
	sregs, err := c.kvm.Sregs()
	if err != nil {
		return fmt.Sprintf(" at RIP %#x", regs.RIP)
	}
	at := fmt.Sprintf(" at RIP %#x", regs.RIP)
	if insn == nil {
		insn = c.fetch(sregs.CS.Base + regs.RIP)
	}
	if len(insn) == 0 {
		return at + " (not mapped)"
	}
	mode := 16
	switch {
	case sregs.CS.L != 0:
		mode = 64
	case sregs.CS.DB != 0:
		mode = 32
	}
	return at + ": " + Disassemble(insn, mode, regs.RIP)
}

// maxInsn is the longest x86 instruction (Intel SDM volume 2, 2.3.11).
const maxInsn = 15

// fetch reads up to an instruction's bytes at a linear address; fewer at the end of what is mapped.
func (c *CPU) fetch(linear uint64) []byte {
	var b []byte
	for len(b) < maxInsn {
		gpa, ok, err := c.kvm.Translate(linear + uint64(len(b)))
		if err != nil || !ok {
			break
		}
		n := min(uint64(maxInsn-len(b)), 0x1000-gpa&0xfff)
		p, err := c.cfg.Memory.Bytes(gpa, n)
		if err != nil {
			break
		}
		b = append(b, p...)
	}
	return b
}

// Disassemble is an instruction in Intel syntax with its bytes: "out dx, al (ee)". mode is 16, 32 or 64.
func Disassemble(code []byte, mode int, rip uint64) string {
	i, err := x86asm.Decode(code, mode)
	if err != nil || i.Op == 0 { // prefixes alone decode to no operation
		return fmt.Sprintf("undecodable bytes % x", code)
	}
	return fmt.Sprintf("%s (% x)", x86asm.IntelSyntax(i, rip, nil), code[:i.Len])
}
