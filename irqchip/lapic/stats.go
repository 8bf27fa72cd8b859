package lapic

// VectorStats is the account of one vector at one APIC, for reports. While interrupts come and go, each counter is a recent value of its own.
// At rest they add up: Raised = Coalesced + Delivered + Dropped + what is in PIR and IRR.
type VectorStats struct {
	Vector uint8
	// Raised counts interrupts by others and by the APIC itself.
	Raised uint64
	// Coalesced are those that found the same vector waiting; Delivered those that the processor acknowledged; Dropped those that a disabled
	// APIC did not take or a reset wiped out.
	Coalesced, Delivered, Dropped uint64
	// Ended counts EOIs.
	Ended uint64
}

// IPIStats counts what one APIC has sent by ICR and SELF IPI, by kind.
type IPIStats struct {
	Mode      Mode
	Shorthand Shorthand
	Count     uint64
}

// Stats is the account of one APIC.
type Stats struct {
	Vectors []VectorStats // that occurred
	IPIs    []IPIStats    // that occurred
	// LostIPIs are those of IPIs that no bus carries: INIT deassertions, reserved modes, and all of them without Config.Out.
	LostIPIs uint64
	// Spurious are acknowledges that found nothing, IdleEOIs EOIs with nothing in service, EOIBroadcasts those that the IOAPICs have to know.
	Spurious, IdleEOIs, EOIBroadcasts uint64
	// IllegalVectors counts vectors below 16 that were received.
	IllegalVectors uint64
	// TimerExpired counts timer interrupts. TimerMissed are periods that a late host left out, TimerClamped starts of a timer
	// whose period was stretched to MinPeriod.
	TimerExpired, TimerMissed, TimerClamped uint64
}

// Stats may be called from any thread.
func (a *APIC) Stats() Stats {
	c, d := &a.count, a.desc
	s := Stats{
		LostIPIs: c.lostIPIs.Load(), Spurious: c.spurious.Load(), IdleEOIs: c.idleEOIs.Load(), EOIBroadcasts: c.broadcast.Load(),
		IllegalVectors: c.illegal.Load() + d.illegal.Load(),
		TimerExpired:   c.expired.Load(), TimerMissed: c.missed.Load(), TimerClamped: c.clamped.Load(),
	}
	for v := range 256 {
		row := VectorStats{
			Vector: uint8(v), Raised: d.raised[v].Load() + c.raised[v].Load(), Coalesced: d.coalesced[v].Load() + c.coalesced[v].Load(),
			Delivered: c.delivered[v].Load(), Dropped: c.dropped[v].Load(), Ended: c.ended[v].Load(),
		}
		if row != (VectorStats{Vector: uint8(v)}) {
			s.Vectors = append(s.Vectors, row)
		}
	}
	for m := range c.ipis {
		for h := range c.ipis[m] {
			if n := c.ipis[m][h].Load(); n != 0 {
				s.IPIs = append(s.IPIs, IPIStats{Mode(m), Shorthand(h), n})
			}
		}
	}
	return s
}

// BusStats is the account of a bus.
type BusStats struct {
	// Sent counts messages, Nobody those of them that no APIC took, Kicks the vCPUs that were kicked.
	Sent, Nobody, Kicks uint64
}

// Stats may be called from any thread.
func (b *Bus) Stats() BusStats {
	return BusStats{Sent: b.sent.Load(), Nobody: b.nobody.Load(), Kicks: b.kicks.Load()}
}
