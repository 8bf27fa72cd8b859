package testdev

import "encoding/binary"

// ExitPort is where test kernels look for Exit, and ExitSize the number of ports.
const (
	ExitPort = 0xf4
	ExitSize = 4
)

// Exit is a port whose write ends the machine.
type Exit struct{ exit func(value uint32) }

// NewExit returns the port; exit is called on the vCPU's thread with what was written, zero-extended.
func NewExit(exit func(value uint32)) *Exit { return &Exit{exit} }

// Status is the exit status of a VMM whose guest has written value: odd, so that no value is taken for success of the VMM by itself. A process's
// status keeps the low eight bits.
func Status(value uint32) int { return int(value<<1 | 1) }

// Read returns zeros.
func (e *Exit) Read(_ uint64, p []byte) { clear(p) }

// Write ends the machine.
func (e *Exit) Write(_ uint64, p []byte) {
	var b [4]byte
	copy(b[:], p)
	e.exit(binary.LittleEndian.Uint32(b[:]))
}

// RegisterName names the register for reports.
func (e *Exit) RegisterName(uint64, bool) string { return "exit" }
