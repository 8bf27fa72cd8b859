package kvm

import gokvm "github.com/bobuhiro11/gokvm/kvm"

// Register state, as gokvm has it: these of its types agree with the kernel's headers (abi_test.go).
type (
	// Regs is struct kvm_regs: the general-purpose registers, RIP and RFLAGS.
	Regs = gokvm.Regs
	// Sregs is struct kvm_sregs: segments, descriptor tables, control registers, EFER and the APIC base.
	Sregs = gokvm.Sregs
	// Segment is struct kvm_segment: a segment register with its hidden part.
	Segment = gokvm.Segment
	// Descriptor is struct kvm_dtable: base and limit of the GDT or IDT.
	Descriptor = gokvm.Descriptor
)
