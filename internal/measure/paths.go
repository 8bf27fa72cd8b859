package measure

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"doorbell/internal/kvm"
	"doorbell/internal/probe"
	"doorbell/internal/report"
	"doorbell/vmm"
)

// What each arm of `paths` does in a round.
const (
	pathRounds = 3
	// Where times mean something there are enough interrupts for a percentile of 99.9.
	pathInterrupts, pathTimedInterrupts = 200, 1000
)

// pathArms are the paths, to a vCPU that runs and to one that has halted; where the local APIC is KVM's also with an EOI that need not exit, and to one that
// has halted and polls.
func pathArms() (arms []interruptedArm) {
	for _, halts := range []bool{false, true} {
		for _, p := range []path{byLineEdge, byLineLevel, bySignalMSI, byIRQFD, byIRQFDPin, byInterrupt} {
			arms = append(arms, interruptedArm{path: p, x2apic: !p.userAPIC, halts: halts, paced: true})
			// KVM wants to know of a level interrupt's end.
			if !p.userAPIC && !p.level {
				arms = append(arms, interruptedArm{path: p, x2apic: true, halts: halts, paced: true, pvEOI: true})
			}
		}
	}
	for _, p := range []path{bySignalMSI, byIRQFD, byIRQFDPin} {
		arms = append(arms, interruptedArm{path: p, x2apic: true, halts: true, polls: true, paced: true})
	}
	return arms
}

// A pathRow is what the rounds of one arm gave.
type pathRow struct {
	interruptedArm
	sent, seen uint64
	figures    map[string]spread
	times      *latencies
}

// add takes a round's counts.
func (r *pathRow) add(c *interruptedCounts) {
	r.sent, r.seen = r.sent+c.sent, r.seen+c.seen
	r.times.add(c.times)
	put := func(name string, v float64) { r.figures[name] = append(r.figures[name], v) }
	put("exits_per_interrupt", c.exits)
	put("userspace_exits_per_interrupt", c.userspace)
	put("host_exits_per_interrupt", c.control)
	if c.polled != nil {
		put("wakeups_while_polling_per_interrupt", *c.polled)
	}
	if parts := c.parts(); parts != nil {
		put("completion_exits_per_interrupt", parts["eoi"])
		put("delivery_exits_per_interrupt", parts["kick"]+parts["hlt"]+parts["window"]+parts["other"])
		for _, name := range partNames() {
			put(name+"_exits_per_interrupt", parts[name])
		}
	}
}

// eoi says how the guest ends its interrupts.
func (r *pathRow) eoi() string {
	switch {
	case r.pvEOI:
		return "PV EOI"
	case r.x2apic:
		return "MSR write"
	}
	return "memory write"
}

// name is for whoever watches.
func (r pathRow) name() string {
	return fmt.Sprintf("%s to a %s vCPU, EOI by %s", r.path.name, r.target(), r.eoi())
}

// Paths is the experiment `paths`: what one interrupt costs a bare guest, by the way that it takes.
func Paths(ctx context.Context, cfg vmm.Config) (doc *report.Document, _ *vmm.Result, err error) {
	doc = &report.Document{Environment: probe.Host()}
	b, err := openBench()
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	missing := map[string]string{}
	rows := make([]pathRow, 0, len(pathArms()))
	for _, a := range pathArms() {
		rows = append(rows, pathRow{interruptedArm: a, figures: map[string]spread{}, times: newLatencies()})
	}
	unclocked, interrupts := noTimes(doc.Environment.Emulated, b.cpus), pathTimedInterrupts
	if unclocked != "" {
		interrupts = pathInterrupts
	}
	order := newRounds(ctx, roundsIn(ctx, pathRounds))
	failures := order.each(ctx, cfg, "paths", namesOf(rows, pathRow.name), func(arm int) error {
		c, err := measureInterrupted(ctx, b.sys, b.cpus, rows[arm].interruptedArm, interrupts, false)
		if err != nil {
			return err
		}
		maps.Copy(missing, c.missing)
		rows[arm].add(c)
		return nil
	})
	e := report.Experiment{Name: "paths", Missing: missing, Parameters: order.parameters(), Table: &report.Table{
		Columns: []string{"path, target, EOI", "exits per interrupt", "least", "most", "delivery", "completion", "to doorbell", "host's own, subtracted", "woken while polling"},
	}}
	e.Parameters["interrupts_per_round"] = interrupts
	virtualized, _ := kvm.VirtualizesAPIC()
	picture := &report.Plot{Title: "exits per interrupt", Parts: []string{"to deliver it", "to end it"}}
	e.Plots, e.Literature = []*report.Plot{picture}, literaturePaths
	for i := range rows {
		r := &rows[i]
		name := fmt.Sprintf("%s, %s, %s", r.path.name, r.target(), r.eoi())
		if missedIn(missing, name, failures[i], context.Cause(ctx), len(r.figures["exits_per_interrupt"]), order.n) {
			continue
		}
		e.Rows = append(e.Rows, r.row(virtualized, unclocked))
		cells := r.cells(name)
		if unclocked == "" {
			cells = append(cells, r.times.cells()...)
		}
		e.Table.Rows = append(e.Table.Rows, cells)
		picture.Bars = append(picture.Bars, r.bar(name))
	}
	if unclocked == "" {
		e.Table.Columns = append(e.Table.Columns, latencyColumns...)
		e.Plots = append(e.Plots, latencyPlots(rows)...)
	}
	if len(e.Rows) == 0 {
		return nil, nil, fmt.Errorf("none of the paths could be measured: %v", missing)
	}
	e.Finding = pathsFinding(rows)
	doc.Experiments = []report.Experiment{b.cpus.placed(e)}
	return doc, nil, nil
}

// noTimes is what keeps a latency from meaning anything; "" if nothing does.
func noTimes(emulatedHost bool, cpus *processors) string {
	switch {
	case emulatedHost:
		return emulatedClock
	case cpus.shared():
		return "the vCPU shares the processor of the thread that interrupts it"
	}
	return ""
}

// row is for machines. noTimes is why there are no latencies.
func (r *pathRow) row(virtualized bool, noTimes string) map[string]any {
	row := map[string]any{
		"path": r.path.name, "target": r.target(), "eoi": r.eoi(), "apic": r.apic(), "apic_virtualization": virtualized && !r.path.userAPIC,
		"sent": r.sent, "seen": r.seen,
	}
	for _, name := range pathFigures() {
		r.figures[name].into(row, name)
	}
	r.times.into(row, noTimes)
	return row
}

// pathFigures are the figures of a row that have rounds.
func pathFigures() []string {
	names := []string{"exits_per_interrupt", "delivery_exits_per_interrupt", "completion_exits_per_interrupt", "userspace_exits_per_interrupt", "host_exits_per_interrupt",
		"wakeups_while_polling_per_interrupt"}
	for _, p := range partNames() {
		names = append(names, p+"_exits_per_interrupt")
	}
	return names
}

// bar is its picture; without the tracepoint nobody knows the parts.
func (r *pathRow) bar(name string) report.Bar {
	delivery, completion := r.figures["delivery_exits_per_interrupt"], r.figures["completion_exits_per_interrupt"]
	if len(delivery) == 0 {
		return bar(name, r.figures["exits_per_interrupt"].median())
	}
	return bar(name, delivery.median(), completion.median())
}

// cells are for people.
func (r *pathRow) cells(name string) []string {
	low, high := r.figures["exits_per_interrupt"].bounds()
	cells := []string{name}
	number := func(v float64) { cells = append(cells, fixed(v, 2)) }
	number(r.figures["exits_per_interrupt"].median())
	number(low)
	number(high)
	for _, f := range []string{"delivery_exits", "completion_exits", "userspace_exits", "host_exits", "wakeups_while_polling"} {
		if s := r.figures[f+"_per_interrupt"]; len(s) > 0 {
			number(s.median())
		} else {
			cells = append(cells, "-")
		}
	}
	return cells
}

// latencyPlots have a picture for each path, of the latencies by what the vCPU does. PV EOI has no part in them.
func latencyPlots(rows []pathRow) (plots []*report.Plot) {
	for i := range rows {
		r := &rows[i]
		if r.pvEOI || r.times.delivery.TotalCount() == 0 {
			continue
		}
		title := r.path.name + ": ns from the system call to the handler, by percentile"
		at := slices.IndexFunc(plots, func(p *report.Plot) bool { return p.Title == title })
		if at < 0 {
			at = len(plots)
			plots = append(plots, &report.Plot{Title: title})
		}
		plots[at].Lines = append(plots[at].Lines, r.times.line(r.target()))
	}
	return plots
}

// pathsFinding names the cheapest and the dearest way.
func pathsFinding(rows []pathRow) string {
	var cheapest, dearest *pathRow
	for i := range rows {
		r := &rows[i]
		s := r.figures["exits_per_interrupt"]
		if len(s) == 0 {
			continue
		}
		if cheapest == nil || s.median() < cheapest.figures["exits_per_interrupt"].median() {
			cheapest = r
		}
		if dearest == nil || s.median() > dearest.figures["exits_per_interrupt"].median() {
			dearest = r
		}
	}
	describe := func(r *pathRow) string {
		return fmt.Sprintf("%s to a %s vCPU that ends it by %s (%s exits)", r.path.name, r.target(), r.eoi(), fixed(r.figures["exits_per_interrupt"].median(), 2))
	}
	return "the cheapest interrupt was " + describe(cheapest) + ", the dearest " + describe(dearest)
}
