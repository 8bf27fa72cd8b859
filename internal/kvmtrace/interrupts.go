package kvmtrace

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Interrupts counts what KVM's own interrupt controllers do with each vector, by their tracepoints. It costs each interrupt a few histogram
// updates: it is for runs that want to know.
type Interrupts struct {
	instance instance
	vcpus    map[uint64]int // by thread
}

// Vector is a vector at a vCPU.
type Vector struct {
	VCPU   int
	Vector uint8
}

// InterruptCounts is what the tracepoints have counted.
type InterruptCounts struct {
	Accepted  map[Vector]uint64 // taken by the local APIC into IRR (kvm_apic_accept_irq)
	Posted    map[Vector]uint64 // of these, given to the hardware to deliver (kvm_apicv_accept_irq)
	Delivered map[Vector]uint64 // injected into the guest for the first time (kvm_inj_virq)
	Ended     map[Vector]uint64 // EOIs (kvm_eoi)
	PVEnded   map[Vector]uint64 // of these, EOIs that cost no exit (kvm_pv_eoi)
	IPIs      map[uint32]uint64 // by the ICR's low half (kvm_apic_ipi)
	Pins      map[int]Pin       // of the IOAPIC (kvm_ioapic_set_irq)
	Inhibits  map[int]uint64    // reasons for which machines stopped having their local APICs virtualized (kvm_apicv_inhibit_changed)
	Lost      uint64            // hits that the histograms had no room for
}

// Pin is what happened at one pin of KVM's IOAPIC.
type Pin struct {
	Raised, Coalesced, Throttled uint64
	Vector                       uint8 // as its entry had it last
	Level                        bool
}

// Names of the events.
const (
	acceptEvent   = "kvm_apic_accept_irq"
	postEvent     = "kvm_apicv_accept_irq"
	injectEvent   = "kvm_inj_virq"
	eoiEvent      = "kvm_eoi"
	pvEOIEvent    = "kvm_pv_eoi"
	ipiEvent      = "kvm_apic_ipi"
	pinEvent      = "kvm_ioapic_set_irq"
	throttleEvent = "kvm_ioapic_delayed_eoi_inj"
	inhibitEvent  = "kvm_apicv_inhibit_changed"
)

// StartInterrupts begins to count. tids are the threads of the vCPUs, in their order. What devices' threads and workqueues cause cannot be told
// from another machine's: the counts of kvm_apic_accept_irq and kvm_ioapic_set_irq are those of all machines on the host.
func StartInterrupts(tids []int) (*Interrupts, error) {
	root, err := Find()
	if err != nil {
		return nil, err
	}
	if err := initialNamespace(); err != nil {
		return nil, err
	}
	filter, err := threads(tids)
	if err != nil {
		return nil, err
	}
	removeStale(root)
	i := &Interrupts{vcpus: map[uint64]int{}}
	for n, tid := range tids {
		i.vcpus[uint64(tid)] = n
	}
	if i.instance, err = newInstance(root); err != nil {
		return nil, err
	}
	// kvm_inj_virq's field was named irq before Linux 6.0, which also tells apart what an exit during the delivery has KVM inject again.
	injected := "vector"
	switch _, err := os.Stat(filepath.Join(root, "events/kvm", injectEvent)); {
	case err == nil && !hasField(root, injectEvent, "vector"):
		injected = "irq"
	case err == nil && hasField(root, injectEvent, "reinjected"):
		injected += ",reinjected"
	}
	for _, e := range []struct {
		event, keys string
		ours        bool
	}{
		{acceptEvent, "apicid,vec", false},
		{postEvent, "apicid,vec", false},
		{injectEvent, "common_pid," + injected, true},
		{eoiEvent, "apicid,vector", true},
		{pvEOIEvent, "apicid,vector", true},
		{ipiEvent, "icr_low", true},
		{pinEvent, "pin,coalesced,e", false},
		{throttleEvent, "e", false},
		{inhibitEvent, "reason,set", false},
	} {
		definition := "hist:keys=" + e.keys + ":size=4096"
		if e.ours {
			definition += filter
		}
		if err := i.instance.count(e.event, definition); err != nil && !errors.Is(err, os.ErrNotExist) {
			i.Close()
			return nil, fmt.Errorf("the %s tracepoint: %w", e.event, err)
		}
	}
	return i, nil
}

// Close removes the histograms.
func (i *Interrupts) Close() error { return i.instance.close() }

// Read returns the counts so far. An event that this kernel lacks leaves its map nil.
func (i *Interrupts) Read() (c InterruptCounts, err error) {
	rows := func(event string) []row {
		rs, lost, e := i.instance.histogram(event)
		if e != nil {
			if !errors.Is(e, os.ErrNotExist) {
				err = errors.Join(err, e)
			}
			return nil
		}
		c.Lost += lost
		if rs == nil {
			rs = []row{}
		}
		return rs
	}
	byAPIC := func(event, vector string) map[Vector]uint64 {
		rs := rows(event)
		if rs == nil {
			return nil
		}
		m := map[Vector]uint64{}
		for _, r := range rs {
			m[Vector{int(r.keys["apicid"]), uint8(r.keys[vector])}] += r.n
		}
		return m
	}
	c.Accepted = byAPIC(acceptEvent, "vec")
	c.Posted = byAPIC(postEvent, "vec")
	c.Ended = byAPIC(eoiEvent, "vector")
	c.PVEnded = byAPIC(pvEOIEvent, "vector")
	if rs := rows(injectEvent); rs != nil {
		c.Delivered = map[Vector]uint64{}
		for _, r := range rs {
			if id, ok := i.vcpus[r.keys["common_pid"]]; ok && r.keys["reinjected"] == 0 {
				c.Delivered[Vector{id, uint8(r.keys["vector"] | r.keys["irq"])}] += r.n
			}
		}
	}
	if rs := rows(ipiEvent); rs != nil {
		c.IPIs = map[uint32]uint64{}
		for _, r := range rs {
			c.IPIs[uint32(r.keys["icr_low"])] += r.n
		}
	}
	if rs := rows(inhibitEvent); rs != nil {
		c.Inhibits = map[int]uint64{}
		for _, r := range rs {
			if r.keys["set"] != 0 {
				c.Inhibits[int(r.keys["reason"])] += r.n
			}
		}
	}
	c.pins(rows(pinEvent), rows(throttleEvent))
	return c, err
}

// pins puts the IOAPIC's events together: the one of the throttle has the entry and not the pin.
func (c *InterruptCounts) pins(set, throttled []row) {
	if set == nil {
		return
	}
	const level = 1 << 15
	c.Pins = map[int]Pin{}
	byEntry := map[uint64]int{} // the pin by what names it in an entry: all but the read-only bits and the mask
	const named = ^uint64(1<<12 | 1<<14 | 1<<16)
	for _, r := range set {
		n := int(r.keys["pin"])
		p := c.Pins[n]
		p.Raised += r.n
		if r.keys["coalesced"] != 0 {
			p.Coalesced += r.n
		}
		p.Vector, p.Level = uint8(r.keys["e"]), r.keys["e"]&level != 0
		c.Pins[n] = p
		byEntry[r.keys["e"]&named] = n
	}
	for _, r := range throttled {
		if n, ok := byEntry[r.keys["e"]&named]; ok {
			p := c.Pins[n]
			p.Throttled += r.n
			c.Pins[n] = p
		}
	}
}
