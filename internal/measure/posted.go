package measure

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"

	"doorbell/internal/kvm"
	"doorbell/internal/probe"
	"doorbell/internal/report"
	"doorbell/irqchip"
	"doorbell/vmm"
)

const (
	postedRounds = 3
	// postedInterrupts is how often each arm of `posted` interrupts its guest in a round.
	postedInterrupts = 400
)

// interruptedArms are the ways that `posted` compares.
func interruptedArms() (arms []interruptedArm) {
	for _, halts := range []bool{false, true} {
		for _, x2apic := range []bool{false, true} {
			for _, p := range []path{bySignalMSI, byIRQFD} {
				arms = append(arms, interruptedArm{path: p, x2apic: x2apic, halts: halts, paced: true})
			}
		}
	}
	return append(arms, interruptedArm{path: bySignalMSI, x2apic: true})
}

// Posted is the experiment `posted`: the proof by behaviour that interrupts are posted. A bare guest takes interrupts from another processor, as KVM is
// and, as a control, with KVM's module loaded again so that it does not virtualize local APICs.
func Posted(ctx context.Context, cfg vmm.Config) (doc *report.Document, _ *vmm.Result, err error) {
	doc = &report.Document{Environment: probe.Host()}
	cpus, err := takeProcessors()
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, cpus.give()) }()
	n := postedRounds
	if isShort(ctx) {
		n = 1 // where there is nothing to post with, it says what `paths` does
	}
	e := &postedExperiment{cpus: cpus, cfg: cfg, order: newRounds(ctx, n), missing: map[string]string{}}
	on, why := kvm.VirtualizesAPIC()
	if err := e.settings(ctx, on, why); err != nil {
		return nil, nil, err
	}
	if len(e.rows) == 0 {
		return nil, nil, fmt.Errorf("none of the ways to interrupt a guest could be measured: %v", e.missing)
	}
	doc.Experiments = []report.Experiment{cpus.placed(e.report())}
	return doc, nil, nil
}

// A postedRow is one arm with one setting of KVM's module.
type postedRow struct {
	interruptedArm
	virtualized bool
	shared      bool               // the vCPU's processor is the injector's
	counts      *interruptedCounts // of all rounds: see pooled
	exits       spread
}

type postedExperiment struct {
	cpus    *processors
	cfg     vmm.Config
	order   rounds
	rows    []postedRow
	missing map[string]string
}

// settings measures KVM as it is and, where the processor virtualizes local APICs, as it is without that.
func (e *postedExperiment) settings(ctx context.Context, on bool, why string) (err error) {
	const control = "APIC virtualization off, as a control"
	if !on {
		e.missing["APIC virtualization on"] = why
		return e.arms(ctx, false)
	}
	module, lacks := kvm.FindModule()
	if err := e.arms(ctx, true); err != nil {
		return err
	}
	if lacks != nil {
		e.missing[control] = lacks.Error()
		return nil
	}
	if err := module.Reload(false); err != nil {
		var not *kvm.NotSupportedError
		if !errors.As(err, &not) {
			return err
		}
		e.missing[control] = err.Error()
		return nil
	}
	defer func() { err = errors.Join(err, module.Restore()) }()
	return e.arms(ctx, false)
}

// arms measures each way with KVM's module as it is.
func (e *postedExperiment) arms(ctx context.Context, virtualized bool) error {
	sys, err := kvm.Open(kvm.Device)
	if err != nil {
		return err
	}
	defer sys.Close()
	arms := interruptedArms()
	counts := make([][]*interruptedCounts, len(arms))
	names := namesOf(arms, func(a interruptedArm) string {
		return fmt.Sprintf("APIC virtualization %s, %s, %s, %s", onOff(virtualized), a.target(), a.path.name, a.apic())
	})
	failures := e.order.each(ctx, e.cfg, "posted", names, func(i int) error {
		c, err := measureInterrupted(ctx, sys, e.cpus, arms[i], postedInterrupts, true)
		if err == nil {
			counts[i] = append(counts[i], c)
		}
		return err
	})
	for i, arm := range arms {
		if missedIn(e.missing, names[i], failures[i], context.Cause(ctx), len(counts[i]), e.order.n) {
			continue
		}
		all, exits := pooled(counts[i])
		maps.Copy(e.missing, all.missing)
		e.rows = append(e.rows, postedRow{arm, virtualized, e.cpus.shared(), all, exits})
	}
	return nil
}

// pooled is what the rounds of an arm gave together: counts are added up, what is per interrupt is the rounds' median.
func pooled(rounds []*interruptedCounts) (all *interruptedCounts, exits spread) {
	all = &interruptedCounts{reasons: map[string]float64{}, host: map[string]uint64{}, missing: map[string]string{}}
	var control spread
	reasons := map[string]spread{}
	posted := uint64(0)
	for _, c := range rounds {
		all.sent, all.seen = all.sent+c.sent, all.seen+c.seen
		exits, control = append(exits, c.exits), append(control, c.control)
		for reason, n := range c.reasons {
			reasons[reason] = append(reasons[reason], n)
		}
		if c.reasons == nil {
			all.reasons = nil
		}
		if c.posted != nil {
			posted += *c.posted
			all.posted = &posted
		}
		for name, n := range c.host {
			all.host[name] += n
		}
		maps.Copy(all.missing, c.missing)
	}
	all.exits, all.control = exits.median(), control.median()
	if all.reasons != nil {
		for reason, s := range reasons {
			for len(s) < len(rounds) {
				s = append(s, 0) // a round that never had it
			}
			all.reasons[reason] = s.median()
		}
	}
	return all, exits
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// posted says whether the processor delivered the interrupts by itself: a vCPU that ran did not leave its guest for them. One that shares the injector's
// processor had left it already.
func (r postedRow) posted() bool {
	return r.virtualized && !r.halts && !r.shared && r.counts.exits < 0.5
}

// whyNot is what kept a row's interrupts from being posted; "" if nothing did.
func (r postedRow) whyNot() string {
	switch {
	case r.posted():
		return ""
	case !r.virtualized:
		return "KVM does not virtualize local APICs in hardware"
	case r.halts:
		return "the vCPU was halted: to wake it takes its HLT's exit"
	case r.shared:
		return "the vCPU shares the injector's processor"
	}
	return "the vCPU left the guest, and the host does not show why"
}

// report puts the rows together.
func (e *postedExperiment) report() report.Experiment {
	x := report.Experiment{Name: "posted", Missing: e.missing, Finding: e.finding(), Parameters: e.order.parameters(), Table: &report.Table{
		Columns: []string{"APIC virtualization, target, path, APIC", "exits per interrupt", "least", "most", "kick", "HLT", "window", "EOI", "other", "host's own, subtracted", "by tracepoint", "PIN", "NPI", "PIW", "posted"},
	}}
	x.Parameters["interrupts_per_round"] = postedInterrupts
	picture := &report.Plot{Title: "exits per interrupt, by APIC virtualization, target, path and APIC", Parts: partNames()}
	for _, r := range e.rows {
		x.Rows = append(x.Rows, r.row())
		cells := r.cells()
		x.Table.Rows = append(x.Table.Rows, cells)
		values := []float64{r.counts.exits}
		if parts := r.counts.parts(); parts != nil {
			values = nil
			for _, name := range partNames() {
				values = append(values, parts[name])
			}
		}
		picture.Bars = append(picture.Bars, bar(cells[0], values...))
	}
	x.Plots, x.Literature = []*report.Plot{picture}, literaturePosted
	return x
}

// row is for machines.
func (r postedRow) row() map[string]any {
	c := r.counts
	row := map[string]any{
		"apic_virtualization": r.virtualized, "target": r.target(), "path": r.path.name, "apic": r.apic(),
		"sent": c.sent, "seen": c.seen, "host_exits_per_interrupt": c.control,
		"posted_by_tracepoint": c.posted, "posted": r.posted(), "why_not_posted": nil,
	}
	r.exits.into(row, "exits_per_interrupt")
	if why := r.whyNot(); why != "" {
		row["why_not_posted"] = why
	}
	parts := c.parts()
	for _, name := range partNames() {
		row[name+"_exits_per_interrupt"] = nil
		if parts != nil {
			row[name+"_exits_per_interrupt"] = parts[name]
		}
	}
	for _, name := range irqchip.NotificationRows {
		if n, ok := c.host[name]; ok {
			row[strings.ToLower(name)] = n
		} else {
			row[strings.ToLower(name)] = nil
		}
	}
	return row
}

func partNames() (names []string) {
	for _, p := range exitParts {
		names = append(names, p.name)
	}
	return append(names, "other")
}

// cells are for people.
func (r postedRow) cells() []string {
	c := r.counts
	number := func(v float64) string { return fixed(v, 3) }
	low, high := r.exits.bounds()
	cells := []string{
		fmt.Sprintf("%s, %s, %s, %s", onOff(r.virtualized), r.target(), r.path.name, r.apic()), number(c.exits), number(low), number(high),
	}
	parts := c.parts()
	for _, name := range partNames() {
		if parts == nil {
			cells = append(cells, "-")
		} else {
			cells = append(cells, number(parts[name]))
		}
	}
	cells = append(cells, number(c.control))
	if c.posted != nil {
		cells = append(cells, fmt.Sprint(*c.posted))
	} else {
		cells = append(cells, "-")
	}
	for _, name := range irqchip.NotificationRows {
		if n, ok := c.host[name]; ok {
			cells = append(cells, fmt.Sprint(n))
		} else {
			cells = append(cells, "-")
		}
	}
	if r.posted() {
		return append(cells, "yes")
	}
	return append(cells, "no")
}

// finding is the experiment's answer in one sentence: the dearest row of each kind speaks for it.
func (e *postedExperiment) finding() string {
	var parts []string
	for _, virtualized := range []bool{true, false} {
		var costs []string
		for _, halts := range []bool{false, true} {
			var worst *postedRow
			for _, r := range e.rows {
				if r.virtualized == virtualized && r.halts == halts && (worst == nil || r.counts.exits > worst.counts.exits) {
					worst = &r
				}
			}
			if worst == nil {
				continue
			}
			target := "running"
			if halts {
				target = "halted"
			}
			cost := fmt.Sprintf("a %s vCPU at most %s exits", target, fixed(worst.counts.exits, 3))
			if words := worst.words(); words != "" {
				cost += " (" + words + ")"
			}
			costs = append(costs, cost)
		}
		if len(costs) > 0 {
			parts = append(parts, "with APIC virtualization "+onOff(virtualized)+" an interrupt costs "+strings.Join(costs, ", "))
		}
	}
	return strings.Join(parts, "; ")
}

// words names the exits that make up most of a row's cost.
func (r postedRow) words() string {
	if r.posted() {
		return "posted"
	}
	if r.shared && !r.halts {
		return "it shares the injector's processor, whose turns are subtracted"
	}
	parts := r.counts.parts()
	var words []string
	for _, p := range exitParts {
		if parts[p.name] >= 0.5 {
			words = append(words, p.word)
		}
	}
	return strings.Join(words, " and ")
}
