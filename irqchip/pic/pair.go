package pic

import (
	"sync"
	"sync/atomic"
)

// The ports of the pair. A chip's command port has A0 = 0, its data port A0 = 1.
const (
	MasterCommand = 0x20
	MasterData    = 0x21
	SlaveCommand  = 0xa0
	SlaveData     = 0xa1
	MasterELCR    = 0x4d0
	SlaveELCR     = 0x4d1
)

// NumLines is the number of IRQs. IRQ 2 has no line.
const NumLines = 16

// cascade is the master's input that the slave's INT is wired to.
const cascade = 2

// floating is what a read finds on the bus when no chip drives it.
const floating = 0xff

// Output is what the master's INT is wired to: the processor, or LINT0 of its local APIC.
type Output interface {
	// SetINTR is called at each change of the level. It must not block and must not call the Pair.
	SetINTR(level bool)
}

// Pair is the master and the slave. Its methods may be called from any goroutine.
type Pair struct {
	out  Output
	intr atomic.Bool // the level that out has been told

	mu            sync.Mutex
	master, slave chip
}

// New returns a pair as after power-on: all edge-triggered, nothing requested, and silent until the guest has initialized it. out may be nil.
func New(out Output) *Pair {
	p := &Pair{out: out}
	p.master.master = true
	p.master.lowest = lowestReset
	p.slave.lowest = lowestReset
	return p
}

// SetLine drives an IRQ's line. What shares a line among devices is the caller's; IRQ 2 and numbers that are no IRQ are ignored.
func (p *Pair) SetLine(irq int, level bool) {
	if uint(irq) >= NumLines || irq == cascade {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	c := &p.master
	if irq >= 8 {
		c = &p.slave
	}
	if !c.setIR(uint8(irq&7), level) || !level {
		return // INT does not fall with an input
	}
	c.raise()
	if p.master.setIR(cascade, p.slave.int) {
		p.master.raise()
	}
	p.output()
}

// INTR is the level of the output. It takes no lock.
func (p *Pair) INTR() bool { return p.intr.Load() }

// Acknowledge is the processor's INTA cycle; it returns the vector. A processor begins one when it has seen INTR, but the request may have
// gone since: then the vector is that of IRQ 7 or 15, the spurious interrupt. INTR falls with the first pulse and may be high again when
// Acknowledge returns; Output hears of what has changed in the end.
func (p *Pair) Acknowledge() (vector byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.master.acknowledge()
	switch {
	case !p.master.cascaded(n):
		vector = p.master.base | n
	case p.slave.id == n && p.slave.icw1&icw1SNGL == 0:
		// The master puts the number of its input on the CAS lines, and the slave that has it as its ID answers.
		vector = p.slave.base | p.slave.acknowledge()
		p.dropCascade()
	default:
		vector = floating
	}
	p.update()
	return vector
}

// ReadPort serves a guest's read of one byte. What is not a port of the pair reads as a floating bus.
func (p *Pair) ReadPort(port uint16) byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch port {
	case MasterCommand, MasterData:
		polled := p.master.poll
		v := p.master.read(port == MasterData)
		if polled {
			p.update()
		}
		return v
	case SlaveCommand, SlaveData:
		polled := p.slave.poll
		v := p.slave.read(port == SlaveData)
		if polled {
			p.dropCascade()
			p.update()
		}
		return v
	case MasterELCR:
		return p.master.elcr
	case SlaveELCR:
		return p.slave.elcr
	}
	return floating
}

// WritePort serves a guest's write of one byte. Other ports than the pair's are ignored.
func (p *Pair) WritePort(port uint16, v byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch port {
	case MasterCommand:
		p.master.writeCommand(v)
	case MasterData:
		p.master.writeData(v)
	case SlaveCommand:
		p.slave.writeCommand(v)
	case SlaveData:
		p.slave.writeData(v)
	case MasterELCR:
		p.master.elcr = v & elcrMaster
	case SlaveELCR:
		p.slave.elcr = v & elcrSlave
	default:
		return
	}
	p.update()
}

// dropCascade shows the master that the slave's INT has fallen, so that it sees an edge if update raises it again at once.
func (p *Pair) dropCascade() { p.master.setIR(cascade, false) }

// update works both chips' INT out afresh, the slave's first: it is the master's input.
func (p *Pair) update() {
	p.slave.update()
	p.master.setIR(cascade, p.slave.int)
	p.master.update()
	p.output()
}

// output tells the owner if INTR has changed.
func (p *Pair) output() {
	if level := p.master.int; level != p.intr.Load() {
		p.intr.Store(level)
		if p.out != nil {
			p.out.SetINTR(level)
		}
	}
}
