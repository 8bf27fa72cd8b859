// Package pic models the two 8259A interrupt controllers of a PC, in the words of Intel's data sheet (order number 231468), wired as the
// PIIX and ICH wire them.
//
//	IRQ 0 ──▶ IR0 ┌────────┐           IRQ  8 ──▶ IR0 ┌────────┐
//	IRQ 1 ──▶ IR1 │ master │ INT ──▶   IRQ  9 ──▶ IR1 │ slave  │ INT ──┐
//	      ┌─▶ IR2 │        │    CPU    IRQ 10 ──▶ IR2 │        │       │
//	IRQ 3 │─▶ IR3 │ ports  │           IRQ 11 ──▶ IR3 │ ports  │       │
//	IRQ 4 │─▶ IR4 │ 20, 21 │ INTA      IRQ 12 ──▶ IR4 │ a0, a1 │       │
//	IRQ 5 │─▶ IR5 │ ELCR   │ ◀──       IRQ 13 ──▶ IR5 │ ELCR   │       │
//	IRQ 6 │─▶ IR6 │ 4d0    │           IRQ 14 ──▶ IR6 │ 4d1    │       │
//	IRQ 7 │─▶ IR7 └────────┘           IRQ 15 ──▶ IR7 └────────┘       │
//	      └────────────────────────────────────────────────────────────┘
//
// # One interrupt
//
// A device raises its IR input, and the request shows in IRR. If IMR does not mask it and nothing of its priority or a higher one is in
// service (ISR), the chip raises INT. The processor answers with two INTA pulses, which are one call of Acknowledge here: the first moves
// the request from IRR to ISR, with the second the chip puts the vector on the bus: ICW2's upper five bits with the number of the input.
// The handler ends with an EOI, which clears the bit of ISR and lets lower priorities through. A request of the slave is a request at the
// master's IR2, so that both have a bit in ISR and both want an EOI.
//
// # The spurious interrupt
//
// An input has to stay high until INTA. Where it has fallen, edge or level, the request is gone from IRR, and the chip, asked for a vector,
// has nothing but its default: that of IR7, with no bit set in ISR. It wants no EOI. The slave's default is IRQ 15, and there the master
// did have a request at IR2: its ISR bit 2 is set and waits for an EOI to the master alone.
//
// The data sheet does not say what INT does when the request behind it goes away. Here INT stays up when an input falls (a request that
// was too short ends as a spurious interrupt, as the data sheet tells it), and is worked out afresh at INTA, poll and every write, so that a
// guest that masks a pending request does not get a spurious one for it.
//
// A device that only has pulses to give drives the line low and then high, and leaves it high: each such pair is one edge, and the request
// waits for its INTA.
//
// # What is left out
//
// The modes for the 8080 and 8085 processors: a chip that is told that it works for one (no ICW4, or ICW4 without µPM) gives an 8086's
// vector none the less, since the processor of a PC would not understand a CALL. Buffered mode: SP/EN is hard-wired in a PC, so that ICW4's
// BUF and M/S change nothing. The poll command does not freeze IRR between its write and its read.
//
// # Ownership
//
// One mutex, Pair.mu, guards both chips: this is the legacy path, with a few thousand interrupts a second at most, each of which costs
// several exits, and the two chips have to change as one. Only INTR is read without it, since a vCPU looks at it before each entry. Output
// is called with the mutex held, so that the owner sees the changes in their order, and must not call back.
//
// # Files
//
//   - chip.go: one 8259A: inputs, IRR, priorities, INT
//   - icw.go: the initialization sequence
//   - ocw.go: the operation command words and the registers' reads
//   - acknowledge.go: INTA and the poll command
//   - pair.go: the two chips on their ports, cascaded
//   - elcr.go: which inputs are level-triggered
//   - names.go: registers' names for reports
//   - stats.go: counters
package pic
