package ioapic

import (
	"fmt"
	"math/bits"
)

// MaxSources is how many sources a pin can have. The 64th bit of the word is SetPin's.
const MaxSources = 63

// pinBit is SetPin's bit in pin.sources.
const pinBit = 1 << 0

// Source is one device's line to a pin. Several may end in the same pin, as PCI's INTx# do: it is asserted as long as one of them is.
type Source struct {
	chip *IOAPIC
	pin  int
	bit  uint64 // in pin.sources; 0 after Close
}

// NewSource connects a line to a pin. It is not asserted.
func (c *IOAPIC) NewSource(pin int) (*Source, error) {
	if uint(pin) >= Pins {
		return nil, fmt.Errorf("ioapic: no pin %d, there are %d", pin, Pins)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	free := ^c.taken[pin]
	if free == 0 {
		return nil, fmt.Errorf("ioapic: pin %d has %d sources and takes no more", pin, MaxSources)
	}
	bit := uint64(1) << bits.TrailingZeros64(free)
	c.taken[pin] |= bit
	return &Source{chip: c, pin: pin, bit: bit}, nil
}

// Pin is the pin that the line ends in.
func (s *Source) Pin() int { return s.pin }

// Set asserts the line or deasserts it; to repeat what it is costs one load. The device calls it under whatever guards its own state,
// so that the line follows the device: two calls at once end with one of the two levels.
func (s *Source) Set(level bool) {
	if s.bit != 0 {
		s.chip.drive(s.pin, s.bit, level)
	}
}

// Close deasserts the line and takes it off the pin. No Set may run beside it; a later one does nothing.
func (s *Source) Close() {
	s.Set(false)
	c := s.chip
	c.mu.Lock()
	defer c.mu.Unlock()
	c.taken[s.pin] &^= s.bit
	s.bit = 0
}
