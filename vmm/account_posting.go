package vmm

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"doorbell/internal/kvmtrace"
	"doorbell/internal/ledger"
	"doorbell/irqchip"
)

// PostingAccount is what is known of posted interrupts in a run: whether there can be any, and the evidence. What each vector did is in the vectors' rows.
type PostingAccount struct {
	APICVirtualized bool    `json:"apic_virtualization"`
	WhyNot          *string `json:"why_not"`
	// Notifications are the host's own counts during the run, for all of its machines: PIN, NPI and PIW of /proc/interrupts.
	Notifications map[string]uint64 `json:"host_notifications"`
	// Posted counts the interrupts that KVM gave to the hardware to deliver (kvm_apicv_accept_irq).
	Posted *uint64 `json:"posted_by_tracepoint"`
	// Inhibits are reasons for which KVM stopped virtualizing local APICs during the run (kvm_apicv_inhibit_changed), for all of the host's machines.
	Inhibits []string          `json:"inhibited_by"`
	Missing  map[string]string `json:"not_measured,omitempty"`
}

// byBehaviour is why a run has no proof by behaviour of its own.
const byBehaviour = "a guest with work of its own proves nothing: doorbell measure posted measures this host"

// postingAccount puts the evidence together. before are the host's notifications when the guest entered; traced is nil where KVM was not watched.
func postingAccount(p irqchip.Posting, before map[string]uint64, traced *kvmtrace.InterruptCounts) *PostingAccount {
	a := &PostingAccount{APICVirtualized: p.Off() == "", Inhibits: []string{}, Missing: map[string]string{"proof_by_behaviour": byBehaviour}}
	if why := p.Off(); why != "" {
		a.WhyNot = &why
	}
	after, err := irqchip.Notifications()
	if err != nil {
		a.Missing["host_notifications"] = err.Error()
	}
	for name, n := range after {
		if a.Notifications == nil {
			a.Notifications = map[string]uint64{}
		}
		a.Notifications[name] = n - min(n, before[name])
	}
	switch {
	case traced == nil:
		a.Missing["posted_by_tracepoint"] = notWatched
		return a
	case traced.Posted == nil:
		a.Missing["posted_by_tracepoint"] = "this kernel has no kvm_apicv_accept_irq"
	default:
		n := uint64(0)
		for _, v := range traced.Posted {
			n += v
		}
		a.Posted = &n
	}
	for _, reason := range slices.Sorted(maps.Keys(traced.Inhibits)) {
		a.Inhibits = append(a.Inhibits, inhibitName(reason))
	}
	return a
}

// inhibitName names a reason of enum kvm_apicv_inhibit (asm/kvm_host.h): the first ones are the same in all versions.
func inhibitName(reason int) string {
	if names := []string{"disable", "hyperv", "absent", "blockirq"}; reason >= 0 && reason < len(names) {
		return names[reason]
	}
	return fmt.Sprintf("reason %d", reason)
}

// source is what a vector at a vCPU is of, and why it is not posted.
type source struct {
	name string
	why  *string
}

// sources finds what is known of vectors at vCPUs: the messages of devices.
func (a *Account) sources() map[kvmtrace.Vector]source {
	known := map[kvmtrace.Vector]source{}
	add := func(vcpu *int, vector *uint8, name string, why *string) {
		if vcpu != nil && vector != nil {
			known[kvmtrace.Vector{VCPU: *vcpu, Vector: *vector}] = source{name, why}
		}
	}
	if a.Net != nil {
		for _, v := range a.Net.Vectors {
			if v.Routings > 0 {
				add(v.VCPU, v.IDTVector, fmt.Sprintf("net0 MSI-X %d", v.Vector), v.WhyNotPosted)
			}
		}
	}
	for _, d := range a.VFIO {
		for _, v := range d.Vectors {
			add(v.VCPU, v.IDTVector, fmt.Sprintf("%s %s %d", d.Address, v.Kind, v.Vector), v.WhyNotPosted)
		}
	}
	return known
}

// attribute says of each vector what it is of, what it cost and why it is not posted, and of each device's what KVM's watch says that it cost.
func (a *Account) attribute(p irqchip.Posting) {
	known := a.sources()
	costs := map[kvmtrace.Vector]*float64{}
	for i := range a.Interrupts.Vectors {
		r := &a.Interrupts.Vectors[i]
		r.Cost()
		at := kvmtrace.Vector{VCPU: r.VCPU, Vector: r.Vector}
		costs[at] = r.ExitsPerIRQ
		if s, ok := known[at]; ok {
			r.Source, r.WhyNotPosted = s.name, s.why
			continue
		}
		r.Source = a.pinOf(r.Vector)
		if why := p.Off(); why != "" {
			r.WhyNotPosted = &why
		}
	}
	cost := func(vcpu *int, vector *uint8) *float64 {
		if vcpu == nil || vector == nil {
			return nil
		}
		return costs[kvmtrace.Vector{VCPU: *vcpu, Vector: *vector}]
	}
	if a.Net != nil {
		for i := range a.Net.Vectors {
			if v := &a.Net.Vectors[i]; v.Fired > 0 {
				v.ExitsPerIRQ = cost(v.VCPU, v.IDTVector)
			}
		}
	}
	for d := range a.VFIO {
		unknown := false
		for i := range a.VFIO[d].Vectors {
			v := &a.VFIO[d].Vectors[i]
			if v.Fired == 0 {
				continue // what its place has cost is another's
			}
			v.ExitsPerIRQ = cost(v.VCPU, v.IDTVector)
			unknown = unknown || v.ExitsPerIRQ == nil
		}
		if why, ok := a.Missing["interrupts"]; ok && unknown {
			a.VFIO[d].Missing["exits_per_irq"] = why
		} else if unknown {
			a.VFIO[d].Missing["exits_per_irq"] = "vectors without: they were not taken where the guest had them last"
		}
	}
}

// pinOf names the pins whose entries had a vector.
func (a *Account) pinOf(vector uint8) string {
	var pins []string
	for _, p := range a.Interrupts.Pins {
		if p.Vector == vector && p.Raised > 0 {
			pins = append(pins, lineName(a.Lines, p))
		}
	}
	return strings.Join(pins, ", ")
}

// lineName names a pin and the device whose line it is.
func lineName(lines []ledger.LineRow, p ledger.PinRow) string {
	for _, l := range lines {
		if int(l.GSI) == p.Pin {
			return fmt.Sprintf("pin %d (%s)", p.Pin, l.Device)
		}
	}
	return fmt.Sprintf("pin %d", p.Pin)
}
