package measure

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"doorbell/internal/kvm"
	"doorbell/internal/kvmtrace"
	"doorbell/internal/probe"
	"doorbell/internal/report"
	"doorbell/internal/tinyguest"
	"doorbell/irqchip"
	"doorbell/vmm"
)

const (
	stormRounds     = 3
	stormAssertions = 200
	// calm is how long no interrupt has to come for an assertion to be over.
	calm = 300 * time.Microsecond
	// stormLimit is how many interrupts one assertion may cause before the experiment ends it: more than the throttle's measure.
	stormLimit = 12_000
)

// A stormArm is a handler of a device on a level-triggered pin, and whose IOAPIC the pin is of.
type stormArm struct {
	order tinyguest.Quiet
	chip  string // empty: KVM's
}

func (a stormArm) name() string {
	who := "KVM's IOAPIC"
	if a.chip != "" {
		who = "doorbell's IOAPIC"
	}
	return map[tinyguest.Quiet]string{
		tinyguest.QuietBeforeEOI: "device, then EOI", tinyguest.QuietAfterEOI: "EOI, then device", tinyguest.QuietNever: "EOI alone, the device never",
	}[a.order] + ", " + who
}

// stormArms are the right order, the wrong one, and a handler that leaves its device alone, whose storm only the IOAPIC's throttle slows down.
func stormArms() (arms []stormArm) {
	for _, chip := range []string{"", irqchip.SplitName} {
		for _, order := range []tinyguest.Quiet{tinyguest.QuietBeforeEOI, tinyguest.QuietAfterEOI, tinyguest.QuietNever} {
			arms = append(arms, stormArm{order, chip})
		}
	}
	return arms
}

// stormDevice is a device with a level-triggered line, which its guest quiets by a port.
type stormDevice struct {
	set   func(level bool) error
	quiet atomic.Uint64 // how often it was quieted
	err   atomic.Pointer[error]
}

// assert raises the line.
func (d *stormDevice) assert(level bool) {
	if err := d.set(level); err != nil {
		d.err.Store(&err)
	}
}

// Port implements vcpu.Bus.
func (d *stormDevice) Port(_ int, port uint16, _ int, write bool, _ []byte) {
	if port == tinyguest.QuietPort && write {
		d.assert(false)
		d.quiet.Add(1)
	}
}

// Memory implements vcpu.Bus.
func (*stormDevice) Memory(int, uint64, bool, []byte) {}

// stormCounts is what a round of an arm gave.
type stormCounts struct {
	assertions, deliveries, throttled uint64
	watched                           bool    // throttled is known
	unwatched                         error   // why not
	exits                             float64 // less the host's own
	own                               float64 // the host's own in the same time: those that the guest has while its line stays down
}

// measureStorm makes the arm's guest and asserts its device's line a number of times, or once if nobody quiets it.
func measureStorm(ctx context.Context, sys *kvm.System, cpus *processors, arm stormArm) (c *stormCounts, err error) {
	d := &stormDevice{}
	g, err := tinyguest.NewInterrupted(sys, tinyguest.Interrupted{X2APIC: true, Pin: messagePin, Level: true, Quiet: arm.order, Chip: arm.chip, Bus: d})
	if err != nil {
		return nil, err
	}
	defer g.Close()
	if err := countable(g.CPU); err != nil {
		return nil, err
	}
	d.set = func(level bool) error { return g.VM.IRQLine(messagePin, level) }
	if g.Chip != nil {
		line, err := g.Chip.NewLevel(messagePin, g.Ledger.AddLine("storm", messagePin))
		if err != nil {
			return nil, err
		}
		defer line.Close()
		d.set = func(level bool) error { line.Set(level); return nil }
	}
	if err := cpus.place(g.CPU.TID()); err != nil {
		return nil, err
	}
	g.CPU.Run()
	defer func() { err = errors.Join(err, halt(g.CPU)) }()
	// The guest programs its pin first; an assertion before that is only a line that is high.
	cpus.linger(50 * time.Millisecond)
	var watch *kvmtrace.Interrupts
	var unwatched error
	if arm == (stormArm{tinyguest.QuietNever, ""}) {
		// KVM's throttle shows in a tracepoint only.
		if watch, unwatched = kvmtrace.StartInterrupts([]int{g.CPU.TID()}); unwatched == nil {
			defer watch.Close()
		}
	}
	began := time.Now()
	before, err := exitsOf(g.CPU)
	if err != nil {
		return nil, err
	}
	n := uint64(stormAssertions)
	if arm.order == tinyguest.QuietNever {
		n = 1
	}
	for i := range n {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		d.assert(true)
		if arm.order == tinyguest.QuietNever {
			stormed := cpus.await(func() bool { return g.Ended() >= stormLimit }, interruptLimit)
			d.assert(false)
			if !stormed {
				return nil, fmt.Errorf("%d interrupts in %v, where %d were waited for: this host is too slow to storm", g.Ended(), interruptLimit, uint64(stormLimit))
			}
		} else if !cpus.await(func() bool { return d.quiet.Load() > i && g.Ended() > 0 }, interruptLimit) {
			return nil, fmt.Errorf("assertion %d was not served in %v", i+1, interruptLimit)
		}
		for last := uint64(0); last != g.Begun(); cpus.linger(calm) {
			last = g.Begun()
		}
		// One that came after its cause had gone has quieted a quiet device.
		d.quiet.Store(i + 1)
	}
	if p := d.err.Load(); p != nil {
		return nil, *p
	}
	after, err := exitsOf(g.CPU)
	if err != nil {
		return nil, err
	}
	took := time.Since(began)
	c = &stormCounts{assertions: n, deliveries: g.Ended(), unwatched: unwatched}
	switch {
	case g.Chip != nil:
		for _, p := range g.Chip.Account().Pins {
			if p.Throttled != nil {
				c.throttled += *p.Throttled
			}
		}
		c.watched = true
	case watch != nil:
		counts, err := watch.Read()
		if err != nil {
			return nil, err
		}
		c.throttled, c.watched = counts.Pins[messagePin].Throttled, true
	}
	start := time.Now()
	cpus.linger(controlTime)
	last, err := exitsOf(g.CPU)
	if err != nil {
		return nil, err
	}
	c.own = float64(last-after) / time.Since(start).Seconds() * took.Seconds()
	c.exits = float64(after-before) - c.own
	return c, nil
}

// Storm is the experiment `storm`: what comes of a handler that ends its interrupt before it quiets its device.
func Storm(ctx context.Context, cfg vmm.Config) (doc *report.Document, _ *vmm.Result, err error) {
	doc = &report.Document{Environment: probe.Host()}
	b, err := openBench()
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	arms := stormArms()
	deliveries, exits, own := make([]spread, len(arms)), make([]spread, len(arms)), make([]spread, len(arms))
	total := make([]stormCounts, len(arms))
	order := newRounds(ctx, roundsIn(ctx, stormRounds))
	unwatched := map[string]string{}
	failures := order.each(ctx, cfg, "storm", namesOf(arms, stormArm.name), func(i int) error {
		c, err := measureStorm(ctx, b.sys, b.cpus, arms[i])
		if err != nil {
			return err
		}
		total[i].assertions += c.assertions
		total[i].deliveries += c.deliveries
		total[i].throttled += c.throttled
		total[i].watched = c.watched
		if c.unwatched != nil {
			unwatched["throttled, "+arms[i].name()] = c.unwatched.Error()
		}
		deliveries[i] = append(deliveries[i], float64(c.deliveries)/float64(c.assertions))
		if !b.cpus.shared() {
			exits[i] = append(exits[i], c.exits/float64(c.assertions))
			own[i] = append(own[i], c.own/float64(c.assertions))
		}
		return nil
	})
	e := report.Experiment{Name: "storm", Missing: unwatched, Parameters: order.parameters(), Table: &report.Table{
		Columns: []string{"handler, IOAPIC", "assertions", "deliveries", "per assertion", "least", "most", "exits per assertion", "host's own, subtracted", "throttled"},
	}}
	median := map[stormArm]float64{}
	picture := plot("interrupts for each assertion of the line, where the device is quieted")
	e.Plots, e.Literature = []*report.Plot{picture}, literatureStorm
	for i, a := range arms {
		if missed(&e, a.name(), failures[i], context.Cause(ctx), len(deliveries[i]), order.n) {
			continue
		}
		median[a] = deliveries[i].median()
		row := map[string]any{
			"handler": a.name(), "irqchip": map[string]string{"": irqchip.KernelName}[a.chip] + a.chip, "assertions": total[i].assertions, "deliveries": total[i].deliveries,
			"throttled": nil,
		}
		throttled := "-"
		if total[i].watched {
			row["throttled"], throttled = total[i].throttled, fmt.Sprint(total[i].throttled)
		}
		deliveries[i].into(row, "deliveries_per_assertion")
		exits[i].into(row, "exits_per_assertion")
		own[i].into(row, "host_exits_per_assertion")
		e.Rows = append(e.Rows, row)
		if a.order != tinyguest.QuietNever {
			picture.Bars = append(picture.Bars, bar(a.name(), median[a]))
		}
		each, hosts := "-", "-"
		if len(exits[i]) > 0 {
			each, hosts = fixed(exits[i].median(), 2), fixed(own[i].median(), 2)
		}
		low, high := deliveries[i].bounds()
		e.Table.Rows = append(e.Table.Rows, []string{
			a.name(), fmt.Sprint(total[i].assertions), fmt.Sprint(total[i].deliveries), fixed(median[a], 2), fixed(low, 2), fixed(high, 2),
			each, hosts, throttled,
		})
	}
	if len(e.Rows) == 0 {
		return nil, nil, fmt.Errorf("none of the handlers could be measured: %s", reasons(e.Missing))
	}
	if b.cpus.shared() {
		e.Missing["exits per assertion"] = "one processor for the guest and what asserts its line: the host's own exits, by which they take turns, drown it"
	}
	e.Finding = stormFinding(median)
	doc.Experiments = []report.Experiment{b.cpus.placed(e)}
	return doc, nil, nil
}

// stormFinding compares the two orders with KVM's IOAPIC, as far as they have been measured.
func stormFinding(median map[stormArm]float64) string {
	var parts []string
	for _, x := range []struct {
		arm   stormArm
		words string
	}{
		{stormArm{tinyguest.QuietBeforeEOI, ""}, "a handler that quiets its device before the EOI took %.2f interrupts per assertion of a level line"},
		{stormArm{tinyguest.QuietAfterEOI, ""}, "one that does so after it %.2f"},
	} {
		if m, ok := median[x.arm]; ok {
			parts = append(parts, fmt.Sprintf(x.words, m))
		}
	}
	if len(parts) == 0 {
		return "neither order was measured"
	}
	return strings.Join(parts, ", ")
}
