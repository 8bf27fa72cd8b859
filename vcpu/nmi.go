package vcpu

import "encoding/binary"

// NMI pulses the local APIC's LINT1 pin, to which a PC leads its NMI button. It returns at once; any thread may call it. Pulses that come
// faster than the vCPU's thread takes them are one.
func (c *CPU) NMI() {
	c.want.Or(wantNMI)
	c.Kick()
}

// LINT1's entry in the local vector table (Intel SDM vol. 3A, "Local Vector Table").
const (
	lvtLINT1   = 0x360
	lvtMasked  = 1 << 16
	lvtMode    = 7 << 8
	lvtModeNMI = 4 << 8
)

// lint1 does what the pin's entry says, on the vCPU's thread. KVM leaves it to its user: KVM_NMI does not ask the in-kernel local APIC.
// Linux has the entry of its first processor only deliver an NMI, and masks the others'.
func (c *CPU) lint1() {
	if c.cfg.Controller != nil {
		if nmi, served := c.cfg.Controller.LINT1(); served {
			c.book.NMI(nmi)
			return
		}
	}
	regs, err := c.kvm.LAPIC()
	takes := err == nil && binary.LittleEndian.Uint32(regs.Regs[lvtLINT1:])&(lvtMasked|lvtMode) == lvtModeNMI
	c.book.NMI(takes && c.kvm.NMI() == nil)
}
