// Package lapic models the interrupt controller that every x86 processor has inside: the local advanced programmable interrupt controller.
//
// # What the chip does
//
// Whoever wants to interrupt a processor sends its local APIC a message that holds little more than a number, the vector: the IOAPIC for
// devices with a wire, devices themselves (MSI), other processors (IPI), and the APIC's own timer. The APIC collects the vectors and presents the
// most important one when the processor is ready for it. Three registers of 256 bits hold one bit for each vector:
//
//	messages           ┌────────────────────────────────────────────────────┐
//	IOAPIC, MSI, IPI ──┤▶ IRR   requested: accepted, not yet delivered      │
//	timer, LINT, ... ──┤▶  │                                                │
//	                   │   │  if its class is above that of PPR             ├──▶ vector, to the processor
//	                   │   ▼                                                │
//	                   │  ISR   in service: the handler runs                │
//	                   │   │                                                │
//	                   │   ▼  EOI                                           │
//	                   │  TMR   was it level-triggered?                     ├──▶ EOI broadcast, to the IOAPICs
//	                   └────────────────────────────────────────────────────┘
//
// A vector is its own priority: its upper four bits are the class. An interrupt is delivered if its class is higher than that of TPR, by which
// software keeps the less important away, and higher than that of every interrupt in service; PPR is the maximum of the two. The same vector
// can wait once in IRR while it is in service; a third is merged with the second. EOI ends the highest in service, whatever that is, and has
// therefore no operand.
//
// # One thread, and the others
//
// An APIC belongs to its vCPU's thread, as the chip to its processor: registers, Accept, EOI and the timer have no lock. What others send is
// left in the Descriptor beside it, as the hardware does it with posted interrupts, and the owner fetches it before it enters the guest:
//
//	another thread                 descriptor             the vCPU's thread
//
//	Bus.SendMSI ── resolve ──▶ set bit in PIR              loop:
//	              set ON; was it clear? ─── kick ────────▶   Expire        the timer
//	                                                         Sync          ON off; PIR → IRR, events
//	                                                         Events        INIT, SIPI, NMI
//	                                                         Waiting?      then sleep
//	                                                         ExtINT?       the PIC's vector, then TakeExtINT
//	                                                         Pending?      if the guest can take it: Accept → KVM_INTERRUPT,
//	                                                                       else ask KVM for an interrupt window
//	                                                         KVM_RUN
//	                                                         exit: Read, Write, ReadMSR, WriteMSR, SetCR8
//
// The kick must outlast the moment between Sync and KVM_RUN, as immediate_exit and a signal do. A vCPU that halts sleeps until a kick or the
// time of Next. A thread that leaves its vCPU alone for longer calls Descriptor.Suppress, and Resume when it is back. An exit that may lower
// the priority (EOI, TPR) needs nothing special: the loop asks Pending again.
//
// # Two ways to the registers
//
// In xAPIC mode, the registers are a page of memory (Read, Write, Page); in x2APIC mode, they are MSRs (ReadMSR, WriteMSR), IDs have 32 bits, and
// where the page ignores a bad access or records an error, WRMSR faults. IA32_APIC_BASE chooses; see writeBase.
//
// # What is modelled
//
// The register file of both modes, priorities, EOI with and without broadcast, the error register, the local vector table with its pins, the
// timer in its three modes, IPIs, and the addressing of all of them. The APIC is a Pentium 4's or later one with the x2APIC extension, as Intel
// describes it; of AMD's, the page has APR, and nothing of the extended registers at 400H. Where the manual leaves a choice:
//
//   - Lowest priority means one of the destinations in turn, by vector. Processors are free to choose, and newer ones do not look at TPR
//     either. It can be sent by ICR, too, and in every addressing mode.
//   - A send of an illegal vector is recorded and sent, so that the receiver records it as well.
//   - Delivery status always reads idle, and there is no limit to what can be on its way.
//   - The xAPIC ID can be written. Two APICs with one ID both get its messages.
//
// # Time
//
// The package never reads a clock of its own. The timer does not tick: it computes when it would interrupt (Next), and what it has
// missed (Expire).
//
// # Files
//
//	apic.go        the chip: Config, New, Reset
//	descriptor.go  where other threads post, and why nothing is lost
//	sync.go        from the descriptor to IRR
//	events.go      INIT, SIPI, NMI, SMI
//	bitmap.go      256 vectors
//	priority.go    PPR, what is delivered next, CR8
//	eoi.go         the end of an interrupt
//	registers.go   the registers that both modes share
//	mmio.go        xAPIC mode: the page
//	msr.go         x2APIC mode: the MSRs, and what faults
//	base.go        IA32_APIC_BASE: the modes, the address on the bus
//	esr.go         errors
//	lvt.go         the local vector table
//	lint.go        the pins, the PIC's way in
//	timer.go       the timer
//	icr.go         sending IPIs
//	message.go     messages, and what an MSI says
//	bus.go         from a message to descriptors
//	routes.go      destinations
//	stats.go       counters
//
// Sections are those of Intel's Software Developer's Manual, volume 3 (SDM), of the editions in which the APIC is chapter 11; before, it was
// chapter 10, and after, 12.
package lapic
