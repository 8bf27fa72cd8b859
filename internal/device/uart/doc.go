// Package uart models the 16550A serial port: National Semiconductor's
// PC16550D, whose names the registers carry, as a PC wires it.
//
// # Time
//
// The model has no baud rate. A byte written to THR is sent at once, so THRE and
// TEMT always read 1, and a byte that waits below the receiver's trigger level has
// always waited long enough for the character timeout. Two places need more than
// that:
//
//   - A real transmitter is busy while a driver fills its FIFO, and interrupts
//     once, when the FIFO has run empty. Here, writes to THR that follow each
//     other with no other access in between are one FIFO load: the first
//     raises the transmitter interrupt, the next 15 do not raise it again. A
//     driver that sends a message of 16 bytes is interrupted once, as on hardware.
//   - A receiver that nobody listens to would overrun, and a driver that opens
//     the port resets the FIFOs and reads RBR to clear them. Here the far end
//     waits: it sends while the receive interrupt is on (IER.ERBFI) and can reach
//     the processor (MCR.OUT2; drivers that probe write IER without it), so that
//     what is typed or piped in before then is not lost. To a driver that polls,
//     64 reads of LSR in a row fetch one byte.
//
// DCD, DSR and CTS are always on, RI is off. Parity, framing and break do not
// happen; word length and divisor are stored and have no effect.
//
// # Interrupt
//
// The output is the ISA line: INTR behind the tri-state buffer that OUT2 enables.
// Loopback turns OUT2 off, so there is no interrupt then. Line.Raise is called
// once for each 0 to 1 transition, which is all that an edge-triggered input
// sees.
//
// # Ownership
//
// One mutex, UART.mu, guards the registers, both FIFOs, the receive backlog and the
// transmit ring's indices. Three kinds of goroutine meet there: vCPUs in Read and
// Write, one producer in Input, and the writer goroutine that New starts. The
// writer owns the bytes between the ring's head and the tail it saw, and hands them
// to the io.Writer without the mutex. Line.Raise is called with the mutex held and
// must not call back.
package uart
