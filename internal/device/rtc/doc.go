// Package rtc models the MC146818 real-time clock and its CMOS RAM as a PC wires
// it: an index register at port 0x70, a data register at 0x71, the century in
// byte 0x32, and everything else plain RAM of which nothing is interpreted.
// Register names and numbers are those of Motorola's MC146818 data sheet.
//
// The clock keeps UTC. It is the host's clock plus an offset that the guest's own
// setting of the time changes; nothing of it is kept when the machine is gone.
// Seconds begin when the host's seconds begin: the divider chain (the DV bits of
// register A) is stored and has no effect.
//
// Interrupts: the alarm and the end of an update are generated, by a timer that
// runs only while the guest has enabled one of them and has none pending. The
// periodic interrupt is not: its rate and enable bits (RS, PIE) are stored,
// and its flag never rises. Neither is the square wave.
//
// UIP is set for the last 244 us of each second, as the data sheet has it for a
// clock that is about to change, so it can neither stick nor be missed by a
// guest that waits for both of its edges.
//
// One mutex guards the whole device. Line.Raise is called with it held and must
// not call back.
package rtc
