// Package eject models the register by which a machine asks its guest to let go of devices on the PCI bus, and the guest says that it has. What the guest
// runs to use it is in package acpi (Ejector).
//
// A request is made by any goroutine; the guest's accesses come on the vCPUs' threads. A guest that never answers, or answers what nobody has asked,
// changes nothing.
package eject

import (
	"encoding/binary"
	"fmt"
	"sync"
)

// Size is the register's in bytes.
const Size = 4

// Line is the edge-triggered interrupt that says that there are requests.
type Line interface{ Raise() }

// Register is the register.
type Register struct {
	line Line

	mu      sync.Mutex
	pending uint32
	gone    [32]chan struct{} // closed when the guest has let go of the device with that number; nil if nobody asks
}

// New makes a register without requests.
func New(line Line) *Register { return &Register{line: line} }

// Request asks the guest to let go of the device with a number below 32. The channel is closed when it has.
func (r *Register) Request(device int) <-chan struct{} {
	r.mu.Lock()
	gone := r.gone[device]
	if gone == nil {
		gone = make(chan struct{})
		r.gone[device] = gone
	}
	r.pending |= 1 << device
	r.mu.Unlock()
	r.line.Raise()
	return gone
}

// Read gives the devices whose ejection is asked for, little-endian.
func (r *Register) Read(off uint64, p []byte) {
	r.mu.Lock()
	b := binary.LittleEndian.AppendUint32(nil, r.pending)
	r.mu.Unlock()
	clear(p)
	if off < Size {
		copy(p, b[off:])
	}
}

// Write takes the devices that the guest has let go of: those that were asked for.
func (r *Register) Write(off uint64, p []byte) {
	var b [Size]byte
	if off >= Size {
		return
	}
	copy(b[off:], p)
	written := binary.LittleEndian.Uint32(b[:])
	r.mu.Lock()
	defer r.mu.Unlock()
	for n := range r.gone {
		if bit := uint32(1) << n; written&r.pending&bit != 0 {
			r.pending &^= bit
			close(r.gone[n])
			r.gone[n] = nil
		}
	}
}

// RegisterName names the register for reports.
func (r *Register) RegisterName(off uint64, write bool) string {
	switch {
	case off != 0:
		return fmt.Sprintf("0x%x", off)
	case write:
		return "EJECTED"
	}
	return "EJECT"
}
