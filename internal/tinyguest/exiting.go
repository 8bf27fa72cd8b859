package tinyguest

import (
	"encoding/binary"

	"doorbell/internal/kvm"
	"doorbell/vcpu"
)

// Exiting is a guest that makes exits in batches: of each pair one writes a byte to a port and one reads it. The bus chooses the port before each batch, by
// SetPort, and may keep the guest waiting at TurnPort.
type Exiting struct {
	WarmUp, Pairs uint32 // pairs before StartPort, and after it; at least one each
}

// Ports that an Exiting guest writes to: before each batch, and when its warm-up is over. The next TurnPort is the batch's end.
const (
	TurnPort  = 0xd0
	StartPort = 0xd1
)

// portAt has the port of the next batch.
const portAt = Data

// NewExiting makes such a guest, which has not run yet.
func NewExiting(sys *kvm.System, e Exiting, bus vcpu.Bus) (*Guest, error) {
	return New(sys, e.code(), bus)
}

func (e Exiting) code() (a assembler) {
	pairs := func(n uint32) {
		a.put(0xb9) // mov ecx, n
		a.imm(n)
		a.put(0xee, 0xec)             // out dx, al; in al, dx
		a.put(0xff, 0xc9, 0x75, 0xfa) // dec ecx; jnz to the out
	}
	a.put(0xe6, TurnPort)      // out TurnPort, al
	a.at(portAt, 0x8b, 0x14)   // mov edx, [portAt]
	pairs(e.WarmUp)            //
	a.put(0xe6, StartPort)     // out StartPort, al
	pairs(e.Pairs)             //
	a.put(0xe9)                // jmp to the beginning
	a.imm(uint32(-len(a) - 4)) // relative to the next instruction
	return a
}

// SetPort chooses the port of the batches to come.
func (g *Guest) SetPort(port uint16) {
	if b, err := g.Memory.Bytes(portAt, 4); err == nil { // the page is the guest's own: it is there
		binary.LittleEndian.PutUint32(b, uint32(port))
	}
}
