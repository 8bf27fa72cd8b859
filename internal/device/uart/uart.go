package uart

import (
	"context"
	"io"
	"sync"
)

// Line is the interrupt output.
type Line interface {
	// Raise is called at each 0 to 1 transition. It must not block and must
	// not call the UART.
	Raise()
}

// Config connects a UART.
type Config struct {
	// Line receives the interrupt; nil leaves the pin unconnected.
	Line Line
	// Output receives what the guest transmits, from one goroutine, in pieces
	// of whatever has gathered. nil discards it.
	Output io.Writer
	// Observe, if set, is shown each piece before Output gets it, also after
	// Output has failed. It runs on the same goroutine and must not keep p.
	Observe func(p []byte)
}

// UART is one port. Create it with New; Read and Write may be called from any
// goroutine.
type UART struct {
	line Line

	mu sync.Mutex

	ier, lcr, mcr, scr, dll, dlm uint8
	// fcr holds the enable and trigger bits of the last effective FCR write.
	fcr uint8
	// msr holds the modem lines and their deltas since the last read.
	msr uint8
	// overrun is LSR.OE.
	overrun bool
	// thre is the latched transmitter interrupt: set when THR becomes empty or
	// the interrupt is enabled with THR empty, cleared by a read of IIR that
	// reports it.
	thre bool
	// burst is how many bytes may still join the FIFO load that was written
	// to THR last; 0 after any access other than a write to THR.
	burst int
	// pin is the level of the ISA line.
	pin bool
	// polls counts the reads of LSR since any other access, up to pollerReads.
	polls int

	rx rxFIFO
	in backlog
	tx transmitter
}

// New returns a port in the state after a master reset, with its writer
// goroutine running until Close or Abort.
func New(cfg Config) *UART {
	u := &UART{line: cfg.Line, msr: msrDCD | msrDSR | msrCTS}
	u.in.init(&u.mu)
	u.tx.init(&u.mu)
	go u.tx.run(cfg.Output, cfg.Observe)
	return u
}

// Read serves a guest's read at an offset from the port's base. A wide access is
// what the ISA bus makes of it: byte accesses at consecutive offsets. Nothing
// answers beyond the last register.
func (u *UART) Read(off uint64, p []byte) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for i := range p {
		p[i] = 0xff
		if at := off + uint64(i); off < Size && at < Size {
			p[i] = u.readRegister(at)
		}
	}
}

// Write serves a guest's write. It waits while the transmit ring is full and its
// reader is slow, until Close or Abort is called.
func (u *UART) Write(off uint64, p []byte) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for i, v := range p {
		if at := off + uint64(i); off < Size && at < Size {
			u.writeRegister(at, v)
		}
	}
}

// Flush waits until everything the guest has sent by now has been handed to
// the output, or has been dropped because the output failed. It returns the output's
// error or, when ctx ends first, an error with the number of bytes left.
func (u *UART) Flush(ctx context.Context) error {
	return u.tx.flush(ctx)
}

// Close ends input, lets no guest write wait any more, waits for the output as
// Flush does, then stops the writer. Bytes that are still queued when ctx ends are
// dropped. The register file keeps working; what the guest sends is discarded.
func (u *UART) Close(ctx context.Context) error {
	u.in.close()
	err := u.tx.close(ctx)
	u.tx.abort()
	return err
}

// Abort ends input and drops what has not been output, without waiting. A writer
// goroutine inside a blocked Output.Write ends when that call does.
func (u *UART) Abort() {
	u.in.close()
	u.tx.abort()
}
