package ioapic

import (
	"sync/atomic"

	"golang.org/x/sys/cpu"
)

// pin is one interrupt input with its entry. The padding keeps apart what different threads write: the state, the counters of those who
// raise the pin, the counters of those who send EOIs.
type pin struct {
	rte     word          // the RTE, with the bits that a guest does not see
	sources word          // who asks for an interrupt, one bit each: the wired OR of the lines
	storm   atomic.Uint32 // EOIs in succession that found the pin active

	activeLow bool // wiring: asking pulls the pin low; see Config

	_ cpu.CacheLinePad

	raised, masked, delivered, coalesced, nobody, smi, reserved atomic.Uint64

	_ cpu.CacheLinePad

	eois, redelivered, throttled, late atomic.Uint64

	_ cpu.CacheLinePad
}

// SetPin asks for an interrupt, or ceases to, in the name of the pin's own source, which is there without NewSource; other sources on
// the pin are not touched. A pin that does not exist is not connected to anything.
func (c *IOAPIC) SetPin(pin int, level bool) {
	if uint(pin) < Pins {
		c.drive(pin, pinBit, level)
	}
}

// drive sets or clears one source's bit. The bit operation's old value tells exactly one of several threads that it was the one to
// change the line.
func (c *IOAPIC) drive(n int, bit uint64, level bool) {
	p := &c.pins[n]
	if (p.sources.Load()&bit != 0) == level {
		return
	}
	if level {
		if p.sources.Or(bit) == 0 {
			c.change(n, true)
		}
		return
	}
	old := p.sources.And(^bit)
	// A device has been served: the guest makes progress.
	if p.storm.Load() != 0 {
		p.storm.Store(0)
	}
	if old == bit {
		c.change(n, false)
	}
}

// change is a transition of the line. An edge is sent by the entry of this moment; if that is being written, the edge came before.
func (c *IOAPIC) change(n int, asserted bool) {
	p := &c.pins[n]
	e := RTE(p.rte.Load())
	if !p.activates(e, asserted) {
		return
	}
	p.raised.Add(1)
	switch {
	case e.Level():
		c.service(n)
	case e.Masked():
		p.masked.Add(1)
	default:
		c.send(p, e)
	}
}

// activates says whether an asserted or deasserted line is active to entry e: the polarity that the guest has programmed is that of the
// wiring, or the guest sees the opposite.
func (p *pin) activates(e RTE, asserted bool) bool {
	return asserted == (e.ActiveLow() == p.activeLow)
}

// due says whether entry e has a level interrupt to deliver, now or after an EOI. It reads the line after the caller has read e, which
// the argument in deliver.go needs.
func (p *pin) due(e RTE) bool {
	return e.Level() && !e.Masked() && p.activates(e, p.sources.Load() != 0)
}
