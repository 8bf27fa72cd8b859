package irqchip

import (
	"doorbell/internal/ledger"
)

// Account implements Chip: KVM's controllers count nothing for us.
func (k *Kernel) Account() ledger.Interrupts { return ledger.Interrupts{} }

// Account implements Chip.
func (s *Split) Account() ledger.Interrupts {
	a := s.bridgeAccount()
	for i := range a.Pins {
		n := s.eoiExits[a.Pins[i].Pin].Load()
		a.Pins[i].EOIExits = &n
	}
	return a
}

// Account implements Chip.
func (u *User) Account() ledger.Interrupts {
	a := u.bridgeAccount()
	type kind struct{ mode, destination string }
	ipis := map[kind]uint64{}
	for id := range u.vcpus {
		s := u.vcpus[id].apic.Stats()
		for _, v := range s.Vectors {
			none := uint64(0)
			a.Vectors = append(a.Vectors, ledger.VectorRow{
				VCPU: id, Vector: v.Vector, Path: "own local APIC, KVM_INTERRUPT", Raised: &v.Raised, Coalesced: &v.Coalesced, Delivered: &v.Delivered,
				Dropped: &v.Dropped, EOIs: &v.Ended, EOIsWithoutExit: &none,
			})
		}
		for _, i := range s.IPIs {
			ipis[kind{i.Mode.String(), i.Shorthand.String()}] += i.Count
		}
	}
	for k, n := range ipis {
		a.IPIs = append(a.IPIs, ledger.IPIRow{Mode: k.mode, Destination: k.destination, Count: n})
	}
	return a
}

// bridgeAccount is the IOAPIC's and the PICs' part.
func (b *southbridge) bridgeAccount() (a ledger.Interrupts) {
	for _, p := range b.ioapic.Stats() {
		if p.Raised+p.Delivered+p.Coalesced+p.Nobody+p.EOIs == 0 {
			continue
		}
		trigger := "edge"
		if p.RTE.Level() {
			trigger = "level"
		}
		a.Pins = append(a.Pins, ledger.PinRow{
			Pin: p.Pin, Vector: p.RTE.Vector(), Trigger: trigger, Raised: p.Raised, Delivered: &p.Delivered, Coalesced: &p.Coalesced, Masked: &p.Masked,
			Nobody: &p.Nobody, EOIs: &p.EOIs, Redelivered: &p.Redelivered, Throttled: &p.Throttled,
		})
	}
	s := b.pic.Stats()
	for irq := range s.Raised {
		if s.Acknowledged[irq] > 0 {
			a.PICs = append(a.PICs, ledger.PICRow{IRQ: irq, Raised: s.Raised[irq], Acknowledged: s.Acknowledged[irq], EOIs: s.EOIs[irq]})
		}
	}
	return a
}
