package vmm

import (
	"doorbell/internal/kvmtrace"
	"doorbell/internal/ledger"
	"doorbell/irqchip"
	"doorbell/irqchip/lapic"
)

// interrupts is the account of the interrupt controllers: what those outside KVM have counted, and what KVM's own did by their tracepoints, if they
// were watched.
func (m *Machine) interrupts(a *Account, traced *kvmtrace.InterruptCounts, err error) ledger.Interrupts {
	rows := m.chip.Account()
	for i := range m.cpus {
		rows.Kicks = append(rows.Kicks, m.ledger.VCPU(i).KickRow(i))
	}
	switch {
	case m.chip.Name() == irqchip.UserName:
	case err != nil:
		a.missing("interrupts", err.Error())
	case traced == nil:
		a.missing("interrupts", notWatched)
	default:
		addKVM(&rows, traced, m.chip.Name() == irqchip.KernelName)
	}
	rows.Sort()
	return rows
}

const notWatched = "KVM's own controllers were not watched: boot --vectors does that"

// addKVM adds the rows of KVM's local APICs and, if it is KVM's, of the IOAPIC.
func addKVM(rows *ledger.Interrupts, c *kvmtrace.InterruptCounts, ioapic bool) {
	vectors := map[kvmtrace.Vector]bool{}
	for _, m := range []map[kvmtrace.Vector]uint64{c.Accepted, c.Posted, c.Delivered, c.Ended, c.PVEnded} {
		for v := range m {
			vectors[v] = true
		}
	}
	of := func(m map[kvmtrace.Vector]uint64, v kvmtrace.Vector) *uint64 {
		if m == nil {
			return nil
		}
		n := m[v]
		return &n
	}
	for v := range vectors {
		r := ledger.VectorRow{VCPU: v.VCPU, Vector: v.Vector, Path: "KVM's local APIC", Raised: of(c.Accepted, v), Posted: of(c.Posted, v), Delivered: of(c.Delivered, v)}
		if c.Ended != nil {
			r.EOIs, r.EOIsWithoutExit = of(c.Ended, v), of(c.PVEnded, v)
		}
		rows.Vectors = append(rows.Vectors, r)
	}
	type kind struct {
		mode      lapic.Mode
		shorthand lapic.Shorthand
	}
	ipis := map[kind]uint64{}
	for icr, n := range c.IPIs {
		ipis[kind{lapic.Mode(icr >> 8 & 7), lapic.Shorthand(icr >> 18 & 3)}] += n
	}
	for k, n := range ipis {
		rows.IPIs = append(rows.IPIs, ledger.IPIRow{Mode: k.mode.String(), Destination: k.shorthand.String(), Count: n})
	}
	if !ioapic {
		return
	}
	for n, p := range c.Pins {
		trigger := "edge"
		if p.Level {
			trigger = "level"
		}
		rows.Pins = append(rows.Pins, ledger.PinRow{Pin: n, Vector: p.Vector, Trigger: trigger, Raised: p.Raised, Coalesced: &p.Coalesced, Throttled: &p.Throttled})
	}
}
