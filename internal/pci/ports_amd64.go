package pci

import (
	"encoding/binary"
	"sync/atomic"
)

// The I/O ports of configuration mechanism #1 (section 3.2.2.3.2).
const (
	AddressPort     = 0xcf8
	AddressPortSize = 4
	DataPort        = 0xcfc
	DataPortSize    = 4

	// resetPort is the byte inside the address register's ports that a PC's chipset uses for resets.
	resetPort = 0xcf9 - AddressPort
)

// Fields of the configuration address.
const (
	addressEnable   = 1 << 31
	addressWritable = addressEnable | 0xfffffc
)

// Ports is the address register and the data window. Guests serialise their use themselves, as the two ports are one resource; a guest
// that does not gets a mixed-up register, not a mixed-up machine.
type Ports struct {
	segment *Segment
	reset   Handler
	address atomic.Uint32
}

// Ports makes the segment's pair of ports. Byte accesses to 0xcf9 go to reset, at offset 0, if it is not nil.
func (s *Segment) Ports(reset Handler) *Ports { return &Ports{segment: s, reset: reset} }

// Address answers at AddressPort.
func (p *Ports) Address() Handler { return (*addressPort)(p) }

// Data answers at DataPort.
func (p *Ports) Data() Handler { return (*dataPort)(p) }

// Reset clears the address register.
func (p *Ports) Reset() { p.address.Store(0) }

// addressPort is the address register. Only doubleword accesses reach it; narrower ones are ordinary I/O.
type addressPort Ports

func (a *addressPort) Read(off uint64, p []byte) {
	switch {
	case off == 0 && len(p) == 4:
		binary.LittleEndian.PutUint32(p, a.address.Load())
	case off == resetPort && len(p) == 1 && a.reset != nil:
		a.reset.Read(0, p)
	default:
		fill(p)
	}
}

func (a *addressPort) Write(off uint64, p []byte) {
	switch {
	case off == 0 && len(p) == 4:
		a.address.Store(binary.LittleEndian.Uint32(p) & addressWritable)
	case off == resetPort && len(p) == 1 && a.reset != nil:
		a.reset.Write(0, p)
	}
}

func (a *addressPort) RegisterName(off uint64, write bool) string {
	switch {
	case off == 0:
		return "CONFIG_ADDRESS"
	case off == resetPort && a.reset != nil:
		return a.reset.RegisterName(0, write)
	}
	return "CONFIG_ADDRESS+" + string('0'+byte(off&3))
}

// dataPort is the window onto the doubleword that the address register selects.
type dataPort Ports

func (d *dataPort) Read(off uint64, p []byte)  { d.access(off, false, p) }
func (d *dataPort) Write(off uint64, p []byte) { d.access(off, true, p) }

func (d *dataPort) access(off uint64, write bool, p []byte) {
	address := d.address.Load()
	bus := address >> 16 & 0xff
	if address&addressEnable == 0 || bus != 0 || off >= DataPortSize {
		if !write {
			fill(p)
		}
		return
	}
	n := min(len(p), DataPortSize-int(off))
	d.segment.access(int(address>>8&0xff), int(address&0xfc)+int(off), write, p[:n])
	if !write {
		fill(p[n:])
	}
}

func (d *dataPort) RegisterName(off uint64, _ bool) string {
	if off == 0 {
		return "CONFIG_DATA"
	}
	return "CONFIG_DATA+" + string('0'+byte(off&3))
}
