// Package ioapic models the chip that devices' interrupt lines end in: Intel's I/O advanced programmable interrupt controller, the 82093AA
// with the end-of-interrupt register that its descendants in the ICH have.
//
// # What the chip does
//
// A device has a wire and can do no more than change its voltage. A processor's local APIC takes messages: this vector, to those
// processors. The IOAPIC stands between the two. For each of its 24 pins it has one entry of a table that the operating system fills
// in, the RTE, which says what a signal on the pin means and which message it becomes:
//
//	devices                    IOAPIC                                        local APICs
//	               ┌───────────────────────────────────┐
//	timer  ────────┤ pin 2   RTE 2   edge,  vector 30h ├──── message ────▶ IRR, ISR of the processor
//	               │                                   │
//	disk   ──┬─────┤ pin 16  RTE 16  level, vector 41h ├──── message ────▶
//	network ─┘     │          └ remote IRR ◀───────────┼──── EOI 41h ─────
//	               │  ...                              │
//	               └───────┬───────────────────────────┘
//	                 IOREGSEL, IOWIN, EOI
//
// On an edge-triggered pin the transition to active is the interrupt. It is sent once and forgotten; if the entry is masked then, it
// is lost. A level-triggered pin asks for an interrupt as long as it is active, so that several devices can share it: who raises it
// while it is up already need not be heard, the line stays up until the last of them has been served. Lest one long level become a
// thousand messages, the IOAPIC sends one and sets the entry's remote IRR bit. It sends the next when the processor has told it, by
// an EOI with that vector, that the handler is done, and the line is still active.
//
// # What is modelled
//
// The register file with its reset values, read-only bits and access widths; polarity and trigger mode; the delivery modes; the EOI
// register. There is no APIC bus: a message is accepted or refused within the call of Output.Deliver. Therefore IOAPICARB only shows
// the identification, and the delivery status bit is set only while a level interrupt waits: for somebody to be there at its
// destination or, after a storm, for Redeliver.
//
// # A line's level and a pin's
//
// Source.Set and SetPin say whether a device asks for an interrupt. What voltage that is, is a matter of wiring: ISA lines and the
// model's default are active high, PCI's INTx# active low, which Config.ActiveLow tells by pin. A guest that programs INTPOL as the
// wiring is sees a device's request as active; one that programs it otherwise sees the opposite, as on hardware.
//
// # Ownership
//
// Any thread may drive pins and send EOIs; they take no lock. vCPUs in Write meet in one mutex, which is held over Config.RouteChanged
// and nothing else that is slow. Output.Deliver and Config.Later are called without it, on the thread that caused the interrupt. The
// long comment in deliver.go says which threads may meet how.
//
// # Files
//
//	ioapic.go     the chip: Config, New, Reset
//	registers.go  the window of 256 bytes, widths, the index registers
//	rte.go        a redirection table entry: its fields, the message it makes
//	table.go      writes to the table, and how a changed route is told
//	message.go    what leaves the chip: Message, Output
//	pin.go        a pin: its lines, its edges
//	source.go     handles for devices that share a pin
//	deliver.go    a level interrupt's way out, and what keeps it from being lost or doubled
//	eoi.go        the way back: EOI, storms
//	stats.go      counters
//	word.go       the atomic words; word_race.go lets tests come between two operations on them
//
// Sections are those of the 82093AA's data sheet (Intel 290566), of the ICH9's (Intel 316972, chapter 13.5) and of Intel's Software
// Developer's Manual, volume 3 (SDM).
package ioapic
