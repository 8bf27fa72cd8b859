package measure

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"doorbell/internal/report"
	"doorbell/vmm"
)

// bootRounds is how often `boot` boots where it runs alone; among others it does so once.
const bootRounds = 3

// boots is what all boots of the experiment gave.
type boots struct {
	doc    *report.Document // of the last one
	res    *vmm.Result
	whole  int               // boots from power-on to power-off
	counts map[string]spread // exits by reason, of those that had any: see exits
	total  spread
	broken error // why the last one was no whole boot
}

// exits are of each whole boot.
func (b *boots) exits(reason string) spread {
	s := slices.Clone(b.counts[reason])
	for len(s) < b.whole {
		s = append(s, 0) // a boot that never had it
	}
	return s
}

// reasons are those of all boots, the most frequent first.
func (b *boots) reasons() []string {
	all := slices.DeleteFunc(slices.Collect(maps.Keys(b.counts)), func(r string) bool { return slices.Max(b.counts[r]) == 0 })
	slices.SortFunc(all, func(x, y string) int {
		return cmp.Or(cmp.Compare(b.exits(y).median(), b.exits(x).median()), cmp.Compare(x, y))
	})
	return all
}

// add is one boot's. One that a signal has stopped is left out if there is another.
func (b *boots) add(doc *report.Document, res *vmm.Result, stopped bool) {
	if !wholeBoot(res) {
		b.broken = fmt.Errorf("the guest ended: %s", res.Reason)
		if stopped && b.doc != nil {
			return
		}
	}
	b.doc, b.res = doc, res
	if b.broken != nil {
		return
	}
	b.whole++
	b.total = append(b.total, float64(exitsOfAll(doc.VM)))
	for reason, n := range doc.VM.ExitsByReason {
		b.counts[reason] = append(b.counts[reason], float64(n))
	}
}

// Boot is the experiment `boot`: guests from power-on to power-off, one after the other. What is not a figure of all is the last one's.
func Boot(ctx context.Context, cfg vmm.Config) (*report.Document, *vmm.Result, error) {
	n := bootRounds
	if isShort(ctx) {
		n = 1
	}
	order := newRounds(ctx, n)
	b := boots{counts: map[string]spread{}}
	failure := order.each(ctx, cfg, "boot", []string{"from power-on to power-off"}, func(int) error {
		if b.broken != nil {
			return nil // the next one would not be better
		}
		doc, res, err := Run(ctx, cfg)
		if err != nil {
			return err
		}
		b.add(doc, res, ctx.Err() != nil)
		return b.broken
	})[0]
	if b.doc == nil {
		return nil, nil, cmp.Or(failure, context.Cause(ctx))
	}
	doc := b.doc
	e := report.Experiment{Name: "boot", Finding: bootFinding(&b), Rows: []map[string]any{}, Missing: maps.Clone(doc.VM.Missing), Parameters: order.parameters()}
	if e.Missing == nil {
		e.Missing = map[string]string{}
	}
	if order.n > 1 {
		missed(&e, "boot", failure, context.Cause(ctx), b.whole, order.n)
	}
	for _, r := range doc.VM.ExitRows {
		e.Rows = append(e.Rows, map[string]any{"kind": "exits_by_reason", "vcpu": r.VCPU, "reason": r.Reason, "exits": r.Count, "source": r.Source})
	}
	for _, r := range doc.VM.UserspaceExits {
		e.Rows = append(e.Rows, map[string]any{"kind": "exits_by_device", "device": r.Device, "register": r.Register, "direction": r.Direction, "width_bytes": r.Width, "exits": r.Count, "source": "userspace"})
	}
	for _, p := range doc.VM.Phases {
		row := map[string]any{"kind": "phase", "phase": p.Name, "at_s": p.AtS, "exits": p.AllExits()}
		if doc.Environment.Emulated {
			row["at_s"] = nil
			row["not_measured"] = map[string]string{"at_s": emulatedClock}
		}
		e.Rows = append(e.Rows, row)
	}
	if b.whole > 1 {
		b.table(&e)
	}
	e.Account = report.AccountTables(doc.VM, doc.Environment.Emulated)
	if order.n > 1 {
		for _, t := range e.Account {
			t.Title += ", of the last boot"
		}
	}
	e.Plots, e.Literature = []*report.Plot{b.plot()}, literatureBoot
	doc.Experiments = append(doc.Experiments, e)
	return doc, b.res, nil
}

// table has the exits of all boots by reason, the most frequent first, and then the sums.
func (b *boots) table(e *report.Experiment) {
	e.Table = &report.Table{Columns: []string{fmt.Sprintf("exits of %d boots, by reason", b.whole), "median", "least", "most"}}
	add := func(reason string, s spread) {
		row := map[string]any{"kind": "exits_of_all_boots", "reason": reason}
		s.into(row, "exits")
		low, high := s.bounds()
		e.Rows = append(e.Rows, row)
		e.Table.Rows = append(e.Table.Rows, []string{reason, fixed(s.median(), 0), fixed(low, 0), fixed(high, 0)})
	}
	for _, reason := range b.reasons() {
		add(reason, b.exits(reason))
	}
	add("all", b.total)
}

// wholeBoot says whether a guest has ended by itself.
func wholeBoot(res *vmm.Result) bool {
	switch res.End {
	case vmm.PoweredOff, vmm.Reset, vmm.Exited:
		return true
	}
	return false
}

// bootFinding is no figure of a whole boot where there was none.
func bootFinding(b *boots) string {
	if !wholeBoot(b.res) {
		return fmt.Sprintf("not a whole boot: after %d exits %s", exitsOfAll(b.doc.VM), b.res.Reason)
	}
	return b.finding()
}

func exitsOfAll(a *vmm.Account) (total int64) {
	for _, n := range a.ExitsByReason {
		total += n
	}
	return total
}

// plot has a bar for each reason, of all vCPUs together: of several boots the median, and of none that was whole what there was.
func (b *boots) plot() *report.Plot {
	p := plot("VM exits of the whole boot, by reason")
	if b.whole == 0 {
		for _, reason := range slices.Sorted(maps.Keys(b.doc.VM.ExitsByReason)) {
			p.Bars = append(p.Bars, bar(reason, float64(b.doc.VM.ExitsByReason[reason])))
		}
		return p
	}
	for _, reason := range b.reasons() {
		p.Bars = append(p.Bars, bar(reason, b.exits(reason).median()))
	}
	return p
}

// emulatedClock is why an experiment on an emulated host has no times.
const emulatedClock = "emulated clock"

// finding says in one sentence what a boot's exits were: of several the median.
func (b *boots) finding() string {
	all := b.total.median()
	if all == 0 {
		return "the guest took no exit"
	}
	s := fmt.Sprintf("a boot with %d vCPUs cost %.0f exits", b.doc.VM.VCPUs, all)
	if low, high := b.total.bounds(); low < high {
		s += fmt.Sprintf(" (%.0f to %.0f)", low, high)
	}
	reasons := slices.DeleteFunc(b.reasons(), func(r string) bool { return b.exits(r).median() == 0 })
	for i, reason := range reasons[:min(3, len(reasons))] {
		sep := ", "
		if i == 0 {
			sep = ": "
		}
		s += fmt.Sprintf("%s%.0f %% %s", sep, 100*b.exits(reason).median()/all, reason)
	}
	return s
}
