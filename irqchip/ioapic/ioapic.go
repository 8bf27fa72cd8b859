package ioapic

import (
	"errors"
	"sync"
	"sync/atomic"
)

// Pins is the number of interrupt inputs.
const Pins = 24

// Config connects an IOAPIC.
type Config struct {
	// Output takes the messages.
	Output Output
	// RouteChanged, if set, is told of a pin whose message or mask bit a guest has changed; RTE has the new ones. It may be slow. It
	// runs on the vCPU's thread with the chip's mutex held, so that calls come one at a time and must not write registers or make or
	// close sources. Until it returns no level interrupt leaves by the new entry: one that did might be handled, and its EOI missed,
	// before whoever watches for EOIs knows the vector.
	RouteChanged func(pin int)
	// Later, if set, is told of a pin whose level interrupt is due but should wait a while, some 10 ms: the owner then calls
	// Redeliver. It must not block. Without it, a storm is delivered at the guest's own pace.
	Later func(pin int)
	// Ended, if set, is told of a pin whose level interrupt the guest has ended, before the pin is looked at again: it may lower lines of the
	// pin, whose devices cannot do it themselves. It must not block, and runs as Output.Deliver does.
	Ended func(pin int)
	// ActiveLow has a bit for each pin whose lines pull it low to ask for an interrupt, as PCI's INTx# do. The others are pulled high.
	ActiveLow uint32
}

// IOAPIC is one chip. Create it with New. Its methods may be called by any thread.
type IOAPIC struct {
	out          Output
	routeChanged func(pin int)
	later        func(pin int)
	ended        func(pin int)
	stormLimit   uint32

	// sel is IOREGSEL and id IOAPICID. They are atomic for their readers; a guest with two threads at the register pair needs a lock
	// of its own, as on hardware.
	sel, id atomic.Uint32

	// mu guards the fields of the RTEs that a guest writes, byVector and taken.
	mu sync.Mutex
	// taken has each pin's bits of pin.sources that are in use.
	taken [Pins]uint64

	// byVector is the set of pins, one bit each, whose RTE may have this vector. It can have a pin too many for a moment, while the
	// entry is being written, and never one too few.
	byVector [256]word

	pins [Pins]pin
}

// New returns a chip in the state after reset: every entry is masked.
func New(cfg Config) (*IOAPIC, error) {
	if cfg.Output == nil {
		return nil, errors.New("ioapic: no output for its messages")
	}
	c := &IOAPIC{out: cfg.Output, routeChanged: cfg.RouteChanged, later: cfg.Later, ended: cfg.Ended, stormLimit: StormLimit}
	for n := range c.pins {
		c.pins[n].activeLow = cfg.ActiveLow>>n&1 != 0
		c.pins[n].rte.Store(uint64(rteReset))
		c.taken[n] = pinBit
	}
	c.byVector[rteReset.Vector()].Store(1<<Pins - 1)
	return c, nil
}

// Reset is the RESET input: the registers get their values after reset. The lines are the devices' and stay as they are, and the
// counters go on.
func (c *IOAPIC) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sel.Store(0)
	c.id.Store(0)
	for n := range c.pins {
		c.rewrite(n, rteReset, rteWritable)
		c.pins[n].storm.Store(0)
	}
}
