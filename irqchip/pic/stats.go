package pic

// Stats is a snapshot of the counters. IRQ 2 is the cascade: what it counts, the slave's interrupts count once more.
type Stats struct {
	Raised       [16]uint64 // times that a line rose
	Acknowledged [16]uint64 // requests that INTA or the poll command took
	EOIs         [16]uint64 // bits of ISR that an EOI cleared; automatic EOIs are not counted
	IdleEOIs     [2]uint64  // EOIs that found nothing to clear, of master and slave
	Spurious     [2]uint64  // IRQ 7 and IRQ 15 given as the default; 15 is also an acknowledged IRQ 2
}

// Stats returns the counters as they are.
func (p *Pair) Stats() (s Stats) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, c := range []*chip{&p.master, &p.slave} {
		copy(s.Raised[i*8:], c.raised[:])
		copy(s.Acknowledged[i*8:], c.acknowledged[:])
		copy(s.EOIs[i*8:], c.eois[:])
		s.IdleEOIs[i] = c.idleEOIs
		s.Spurious[i] = c.spurious
	}
	return s
}
