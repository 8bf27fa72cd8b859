package ioapic

import "math/bits"

// PinStats is what happened at one pin, for reports. While interrupts come and go, each counter is a recent value of its own; at rest
// they add up.
type PinStats struct {
	Pin int
	// RTE is the pin's entry, Asserted how many sources ask for an interrupt.
	RTE      RTE
	Asserted int
	// Raised counts the line's transitions to active. On an edge-triggered pin each of them is counted once more, in Delivered,
	// Coalesced, Masked, Nobody, SMI or Reserved.
	Raised uint64
	// Delivered, Coalesced and Nobody count messages by what became of them.
	Delivered, Coalesced, Nobody uint64
	// Masked counts edges that came while the entry was masked and are lost; SMI and Reserved those whose delivery mode is dropped.
	Masked, SMI, Reserved uint64
	// EOIs counts remote IRRs that an EOI cleared. Redelivered of them found the pin still active and sent a new message; Throttled
	// were the last of a storm.
	EOIs, Redelivered, Throttled uint64
	// Late counts messages that Redeliver sent.
	Late uint64
}

// Stats is the account of every pin.
func (c *IOAPIC) Stats() []PinStats {
	rows := make([]PinStats, Pins)
	for n := range rows {
		p := &c.pins[n]
		rows[n] = PinStats{
			Pin: n, RTE: c.RTE(n), Asserted: bits.OnesCount64(p.sources.Load()),
			Raised: p.raised.Load(), Delivered: p.delivered.Load(), Coalesced: p.coalesced.Load(), Nobody: p.nobody.Load(),
			Masked: p.masked.Load(), SMI: p.smi.Load(), Reserved: p.reserved.Load(),
			EOIs: p.eois.Load(), Redelivered: p.redelivered.Load(), Throttled: p.throttled.Load(), Late: p.late.Load(),
		}
	}
	return rows
}
