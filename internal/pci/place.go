package pci

import (
	"cmp"
	"fmt"
	"slices"
)

// Place gives every BAR an address, as firmware does before it starts an operating system: the largest first, each in the
// first window, by the order of NewSegment, that has room. Decoding stays off until the guest enables it.
func (s *Segment) Place() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	bars := s.bars()
	slices.SortStableFunc(bars, func(a, b *BAR) int { return cmp.Compare(b.Size, a.Size) })
	next := make([]uint64, len(s.windows)) // offset of what is still free
	for _, b := range bars {
		placed := false
		for i, w := range s.windows {
			base := (w.Base + next[i] + b.Size - 1) &^ (b.Size - 1)
			if base < w.Base+next[i] || !w.holds(b, base) {
				continue
			}
			next[i] = base + b.Size - w.Base
			b.setAddress(&b.function.config, base)
			b.setAddress(&b.function.initial, base)
			placed = true
			break
		}
		if !placed {
			return fmt.Errorf("%s: no room for %#x bytes in the bus's windows", b.Name(), b.Size)
		}
	}
	return nil
}
