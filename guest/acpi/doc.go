// Package acpi builds the ACPI tables a guest finds its hardware by. They are
// plain bytes at guest physical addresses; nothing here knows KVM.
//
// The machine is hardware-reduced (ACPI 6.4, section 4.1): no SMI command
// port, no PM1 event and control blocks, no SCI and no PM timer. Power-off is a
// byte write to the sleep control register, reset is a byte write to the reset
// register, and that is all of ACPI's fixed hardware. A Linux guest then also
// leaves the 8259 and the 8254 alone: it takes time from kvm-clock or CPUID
// and the local APIC, and every interrupt from the IOAPIC or by MSI.
//
// Interrupt source overrides: the MADT has none. An override says where an ISA
// interrupt is not at the GSI of the same number, or not edge-triggered and
// active high. The one that PCs always carry, IRQ 0 at GSI 2, is for the 8254,
// which is not described here and which a hardware-reduced guest does not use;
// and there is no SCI to describe. COM1 and the RTC sit at GSI 4 and 8, edge and
// active high, and their devices in the DSDT say so themselves.
//
// A device adds itself to the DSDT by implementing Device; one that needs a
// table of its own (a PCI host bridge and its MCFG) adds that to Config.Tables.
package acpi
