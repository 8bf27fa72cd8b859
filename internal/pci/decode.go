package pci

// decode makes the machine's map follow the command and base address registers. A BAR that cannot be where it was moved is not
// decoded; it gets another chance whenever something else moves, so the outcome does not depend on the order in which a guest
// shuffles its BARs.
func (s *Segment) decode() {
	for _, b := range s.bars() {
		if base, ok := s.wanted(b); b.decoded && (!ok || base != b.base) {
			s.undecode(b)
		}
	}
	for _, b := range s.bars() {
		base, enabled := s.wanted(b)
		if !enabled || b.decoded {
			continue
		}
		if !s.free(b, base) || s.decoder.Map(b, base) != nil {
			s.refused++
			continue
		}
		b.base, b.decoded = base, true
		if b.Moved != nil {
			b.Moved(base, true)
		}
	}
}

// bars yields all BARs on the bus in the order of their addresses there.
func (s *Segment) bars() (all []*BAR) {
	for _, f := range s.functions {
		if f != nil {
			all = append(all, f.bars...)
		}
	}
	return all
}

// wanted is where the guest wants the BAR, if anywhere.
func (s *Segment) wanted(b *BAR) (base uint64, enabled bool) {
	c := &b.function.config
	enable := byte(commandMemory)
	if b.Kind == Port {
		enable = commandIO
	}
	return b.address(c), c.bytes[regCommand]&enable != 0
}

// free says whether the BAR may be at base: within a window, over no other.
func (s *Segment) free(b *BAR, base uint64) bool {
	inside := false
	for _, w := range s.windows {
		inside = inside || w.holds(b, base)
	}
	if !inside {
		return false
	}
	for _, o := range s.bars() {
		// No sum overflows: both lie within windows.
		if o != b && o.decoded && (o.Kind == Port) == (b.Kind == Port) && base < o.base+o.Size && o.base < base+b.Size {
			return false
		}
	}
	return true
}

func (s *Segment) undecode(b *BAR) {
	if !b.decoded {
		return
	}
	if b.Moved != nil {
		b.Moved(b.base, false)
	}
	s.decoder.Unmap(b, b.base)
	b.decoded = false
}
