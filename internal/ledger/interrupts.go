package ledger

import (
	"cmp"
	"slices"
)

// Interrupts is what a machine's interrupt controllers did: the rows of its local APICs, of what they sent each other, of its IOAPIC's pins, and of
// what it took to get vCPUs' attention. A figure that nobody knows is nil.
type Interrupts struct {
	Vectors []VectorRow `json:"vectors"`
	IPIs    []IPIRow    `json:"ipis"`
	Pins    []PinRow    `json:"pins"`
	Kicks   []KickRow   `json:"kicks"`
	// PICs are the 8259s', where they are outside KVM and did anything.
	PICs []PICRow `json:"pics,omitempty"`
}

// VectorRow is one vector at one vCPU's local APIC.
type VectorRow struct {
	VCPU   int    `json:"vcpu"`
	Vector uint8  `json:"vector"`
	Path   string `json:"path"` // how it reaches the vCPU
	// Raised counts what was asked for: by devices, pins, IPIs and the local APIC itself. Coalesced are those that found the vector waiting.
	Raised    *uint64 `json:"raised"`
	Coalesced *uint64 `json:"coalesced"`
	Delivered *uint64 `json:"delivered"` // injected into the guest
	Dropped   *uint64 `json:"dropped"`   // not taken by a disabled local APIC, or wiped out by a reset
	EOIs      *uint64 `json:"eois"`
	// EOIsWithoutExit of these did not leave the guest.
	EOIsWithoutExit *uint64 `json:"eois_without_exit"`
	// Posted of those raised were given to the hardware to deliver, by KVM's tracepoint.
	Posted *uint64 `json:"posted"`
	// Source is the device, or the pin, that it is known to be of.
	Source string `json:"source,omitempty"`
	// ExitsPerIRQ is what an interrupt cost: an entry that injects it, which takes an exit, and an EOI that exits.
	ExitsPerIRQ *float64 `json:"exits_per_irq"`
	// WhyNotPosted is what keeps it from being posted to a running vCPU; nil if nothing does.
	WhyNotPosted *string `json:"why_not_posted"`
}

// Cost computes ExitsPerIRQ where the counts are known. Those that were posted have neither an injection nor, as a rule, an EOI that exits.
func (r *VectorRow) Cost() {
	if r.Delivered == nil || r.EOIs == nil {
		return
	}
	taken, exits := *r.Delivered, *r.Delivered+*r.EOIs
	if r.EOIsWithoutExit != nil {
		exits -= min(exits, *r.EOIsWithoutExit)
	}
	if r.Posted != nil {
		taken += *r.Posted
	}
	if taken == 0 {
		return
	}
	cost := float64(exits) / float64(taken)
	r.ExitsPerIRQ = &cost
}

// IPIRow counts what the local APICs' ICRs have sent.
type IPIRow struct {
	Mode        string `json:"mode"`        // fixed, NMI, INIT, SIPI, ...
	Destination string `json:"destination"` // a shorthand, or "destination"
	Count       uint64 `json:"count"`
}

// PinRow is one pin of the IOAPIC.
type PinRow struct {
	Pin     int    `json:"pin"`
	Vector  uint8  `json:"vector"`  // as its entry had it last
	Trigger string `json:"trigger"` // edge or level
	// Raised counts transitions to active, and in KVM's IOAPIC what its EOIs sent again; Redelivered those by EOIs.
	Raised      uint64  `json:"raised"`
	Delivered   *uint64 `json:"delivered"`
	Coalesced   *uint64 `json:"coalesced"`
	Masked      *uint64 `json:"masked"` // edges lost to the mask bit
	Nobody      *uint64 `json:"nobody"` // messages that no local APIC took
	EOIs        *uint64 `json:"eois"`
	Redelivered *uint64 `json:"redelivered"`
	Throttled   *uint64 `json:"throttled"` // storms that were made to wait
	// EOIExits are those of KVM_EXIT_IOAPIC_EOI: a local APIC in KVM tells an IOAPIC outside.
	EOIExits *uint64 `json:"ioapic_eoi_exits"`
}

// KickRow is what it took to have one vCPU's thread look at something.
type KickRow struct {
	VCPU  int    `json:"vcpu"`
	Asked uint64 `json:"kicks_asked"`
	// Signals and Wakeups are the kicks that were sent: to a thread in the guest, to one asleep. The others found it outside.
	Signals  uint64 `json:"signals_sent"`
	Wakeups  uint64 `json:"wakeups_sent"`
	EINTR    uint64 `json:"kvm_run_interrupted"` // KVM_RUN ended by a kick
	Windows  uint64 `json:"interrupt_windows"`   // entries that asked for an interrupt window
	Injected uint64 `json:"kvm_interrupt"`       // vectors given to KVM by KVM_INTERRUPT
}

// PICRow is one IRQ of the 8259s.
type PICRow struct {
	IRQ          int    `json:"irq"`
	Raised       uint64 `json:"raised"`
	Acknowledged uint64 `json:"acknowledged"`
	EOIs         uint64 `json:"eois"`
}

// Sort puts the rows in order.
func (i *Interrupts) Sort() {
	slices.SortFunc(i.Vectors, func(a, b VectorRow) int {
		return cmp.Or(cmp.Compare(a.Vector, b.Vector), cmp.Compare(a.VCPU, b.VCPU))
	})
	slices.SortFunc(i.IPIs, func(a, b IPIRow) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Mode, b.Mode), cmp.Compare(a.Destination, b.Destination))
	})
	slices.SortFunc(i.Pins, func(a, b PinRow) int { return cmp.Compare(a.Pin, b.Pin) })
}

// KickRow is the vCPU's row.
func (v *VCPU) KickRow(id int) KickRow {
	r := KickRow{VCPU: id, EINTR: v.Kicks(), Windows: v.Windows(), Injected: v.Injections()}
	r.Asked, r.Signals, r.Wakeups = v.KicksAsked()
	return r
}
