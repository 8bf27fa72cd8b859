// Package pit models the 8254 programmable interval timer of a PC, in the words of Intel's data sheet (order number 231164), with port 0x61.
//
//	1.193182 MHz is CLK of all three.
//	                     ┌───────────┐
//	     high ──▶ GATE 0 │ counter 0 │ OUT 0 ──▶ IRQ 0                    port 40
//	                     ├───────────┤
//	     high ──▶ GATE 1 │ counter 1 │ OUT 1 ──▶ memory refresh           port 41
//	                     ├───────────┤
//	61, bit 0 ──▶ GATE 2 │ counter 2 │ OUT 2 ─┬▶ 61, bit 5                port 42
//	                     └───────────┘        └▶ speaker, if 61, bit 1
//	                     control words                                    port 43
//
// # A counter
//
// A guest writes a control word to port 43: which counter, which of six modes, whether the count is one byte or two, binary or BCD. Then
// it writes the count to the counter's port. With the next CLK pulse the count goes from CR, the register that was written, to CE, the
// counting element, which goes down by one with every further pulse. What happens at the end is the mode's:
//
//	0  interrupt on terminal count   OUT goes high, once
//	1  one-shot                      GATE's rise starts it; OUT is low for the count
//	2  rate generator                OUT is low for the last pulse, then all over again
//	3  square wave                   OUT is high for one half of the count and low for the other
//	4  software triggered strobe     OUT is low for one pulse after the count, once
//	5  hardware triggered strobe     the same, and GATE's rise starts it
//
// A rise of OUT 0 is a timer interrupt. Counters 0 and 1 have GATE high for ever, so that in modes 1 and 5 they never start.
//
// # Time
//
// The model has no clock. Each access brings the time in nanoseconds, from any start, never going back (an earlier time than the latest is
// taken for the latest). A counter is brought to that time by arithmetic, whatever its count and however much time has passed: nothing is
// done for a pulse that nobody looks at.
//
// # The owner's part
//
// The owner waits for Next's deadline, calls Advance and raises IRQ 0 if there was an edge. After each write to the chip it asks Next again.
//
// A guest may program a count of 2 in mode 2 or 3, and with it an interrupt every 1.7 microseconds for ever, each with a timer of the host
// behind it. So the owner, when it sets its timer again after a wake-up, waits for MinInterval at least, whatever Next says. After a write
// of the guest it takes Next's deadline as it is: such a wake-up the guest has paid for with an exit of its own, and the modes that
// interrupt once are for kernels that program each of their timeouts and want it exact. Nothing is lost by the wait, since Advance says how
// many edges have passed. The owner delivers one interrupt for them, which is all that an edge-triggered input makes of edges that come
// before INTA, and counts the others as coalesced; or it delivers the rest later, one in each MinInterval, up to a bound of its own.
//
// # What is left out
//
// Counter 1 counts like the others, but port 61's refresh bit does not come from its OUT: it toggles at the rate that PC firmware programs,
// since there is no firmware to do so. A count of 1 in modes 2 and 3 is illegal; it counts as 2, the smallest legal one. A digit above 9 of
// a BCD count has its weight. The first byte of a two-byte count does not reach CR before the second. The state after power-on is undefined
// on the chip; here it is that after control word 0x30, mode 0 without a count, with all OUTs low.
//
// # Ownership
//
// One mutex, PIT.mu, guards everything: vCPUs and the owner's timer meet there a few thousand times a second at most.
//
// # Files
//
//   - clock.go: nanoseconds and CLK pulses, MinInterval
//   - counter.go: a counter's state: what is programmed, CE, GATE and OUT
//   - count.go: CLK pulses, any number of them at once, and when OUT rises next
//   - access.go: the bytes of a counter's port: counts, latches, status
//   - pit.go: the three counters on their ports
//   - port61.go: GATE 2, OUT 2, the speaker and the refresh bit
//   - names.go: registers' names for reports
package pit
