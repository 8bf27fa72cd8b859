// Package irqchip is the machine's interrupt controllers and the lines that lead to them.
//
// A PC has four kinds: a local APIC in each processor, an IOAPIC for devices' wires, and from older days a pair of 8259 PICs and the 8254 timer
// behind IRQ 0. Who plays them is the machine's choice:
//
//	           local APICs   IOAPIC, PIC, PIT   an interrupt goes out by            and ends by
//	kernel     KVM           KVM                write(2) to an irqfd                KVM alone
//	split      KVM           models here        a wire: KVM_SIGNAL_MSI              level: KVM_EXIT_IOAPIC_EOI
//	                                            MSI-X: write(2) to an irqfd         edge: KVM alone
//	user       models here   models here        a post to the vCPU's descriptor,    an exit for each EOI
//	                                            KVM_INTERRUPT by the vCPU's thread
//
// A device cannot tell which one it is on: it has a Line, a Level, a Resampled line, or a pci.Vector.
//
// # Files
//
//	chip.go        what the three have in common: Chip, New
//	kernel.go      kernel; eventline.go, kernellevel.go, its lines
//	split.go       split: routes for its pins, the PIC's vectors, EOIs
//	user.go        user: messages to local APICs; usercpu.go, one vCPU's turn; uservector.go, MSI-X
//	southbridge.go IOAPIC, PIC and PIT outside KVM, for split and user; bridgeline.go, its lines; storm.go, its patience
//	messages.go    KVM's routing table and the GSIs that stand for messages, for kernel and split; vector.go, MSI-X
//	resampled.go   level lines by eventfd
//	alarm.go       timers that are on time beside vCPUs
package irqchip
