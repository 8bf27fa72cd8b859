package tinyguest

import (
	"errors"

	"doorbell/internal/kvm"
	"doorbell/vcpu"
)

// SharedDevices is how many devices the guests of NewShared serve.
const SharedDevices = 2

// Ports of these devices: device n's status, which reads as 0 where it wants nothing, and where it is quieted.
const (
	StatusPort      = 0xe0
	StatusQuietPort = 0xe8
)

// Shared is a guest with two devices that halts between their interrupts. Each device has a handler, which asks the device whether it was the one and quiets
// it.
type Shared struct {
	// Pin is the level-triggered pin that both devices share: every interrupt runs both handlers. 0: each device has a vector, Vector and the next one.
	Pin int
	Bus vcpu.Bus // answers the ports
}

// Where device n's handler counts.
func servedAt(n int) uint32 { return Data + 0x40 + 16*uint32(n) }
func vainAt(n int) uint32   { return servedAt(n) + 8 }

// NewShared makes such a guest, which has not run yet.
func NewShared(sys *kvm.System, s Shared) (*Guest, error) {
	code, handlers := s.code()
	g, err := build(sys, code, s.Bus, "")
	if err != nil {
		return nil, err
	}
	err = g.fillInterrupted()
	for n, at := range handlers {
		err = errors.Join(err, g.gate(Vector+uint64(n), at))
	}
	if err != nil {
		g.Close()
		return nil, err
	}
	return g, nil
}

// code is the guest's program, and where the handlers of its vectors are.
func (s Shared) code() (a assembler, handlers []uint32) {
	a.enable(true)
	if s.Pin > 0 {
		a.route(s.Pin, true)
	}
	a.put(0xfb, 0xf4, 0xeb, 0xfd) // sti; hlt; jmp to the hlt
	handler := func(devices ...int) {
		handlers = append(handlers, Code+uint32(len(a)))
		for _, n := range devices {
			var serve assembler
			serve.put(0xe6, StatusQuietPort+byte(n)) // out StatusQuietPort+n, al
			serve.inc(servedAt(n))
			var vain assembler
			vain.inc(vainAt(n))
			serve.put(0xeb, byte(len(vain))) // jmp past the other case
			a.put(0xe4, StatusPort+byte(n))  // in al, StatusPort+n
			a.put(0x84, 0xc0)                // test al, al
			a.put(0x74, byte(len(serve)))    // jz to the other case
			a.put(serve...)
			a.put(vain...)
		}
		a.eoi(true)
		a.inc(endedAt)
		a.put(0x48, 0xcf) // iretq
	}
	if s.Pin > 0 {
		handler(0, 1)
	} else {
		handler(0)
		handler(1)
	}
	return a, handlers
}

// Served is how often device n's handler has found that its device wanted something, and InVain how often it has not.
func (g *Guest) Served(n int) uint64 { return g.word(uint64(servedAt(n))) }

// InVain is described at Served.
func (g *Guest) InVain(n int) uint64 { return g.word(uint64(vainAt(n))) }
