package measure

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sort"

	"doorbell/internal/report"
	"doorbell/vmm"
)

// Boot is the experiment `boot`: one guest from power-on to power-off.
func Boot(ctx context.Context, cfg vmm.Config) (*report.Document, *vmm.Result, error) {
	doc, res, err := Run(ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	e := report.Experiment{Name: "boot", Finding: bootFinding(doc.VM, res), Rows: []map[string]any{}, Missing: doc.VM.Missing}
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
	e.Account = report.AccountTables(doc.VM, doc.Environment.Emulated)
	e.Plots, e.Literature = []*report.Plot{exitsPlot(doc.VM)}, literatureBoot
	doc.Experiments = append(doc.Experiments, e)
	return doc, res, nil
}

// bootFinding is no figure of a whole boot where there was none.
func bootFinding(a *vmm.Account, res *vmm.Result) string {
	switch res.End {
	case vmm.PoweredOff, vmm.Reset, vmm.Exited:
		return finding(a)
	}
	return fmt.Sprintf("not a whole boot: after %d exits %s", exitsOfAll(a), res.Reason)
}

func exitsOfAll(a *vmm.Account) (total int64) {
	for _, n := range a.ExitsByReason {
		total += n
	}
	return total
}

// exitsPlot has a bar for each reason, of all vCPUs together.
func exitsPlot(a *vmm.Account) *report.Plot {
	p := plot("VM exits of the whole boot, by reason")
	for reason, n := range a.ExitsByReason {
		if n > 0 {
			p.Bars = append(p.Bars, bar(reason, float64(n)))
		}
	}
	slices.SortFunc(p.Bars, func(a, b report.Bar) int {
		return cmp.Or(cmp.Compare(b.Values[0], a.Values[0]), cmp.Compare(a.Label, b.Label))
	})
	return p
}

// emulatedClock is why an experiment on an emulated host has no times.
const emulatedClock = "emulated clock"

// finding says in one sentence what a boot's exits were.
func finding(a *vmm.Account) string {
	type share struct {
		reason string
		n      int64
	}
	var shares []share
	total := exitsOfAll(a)
	for r, n := range a.ExitsByReason {
		shares = append(shares, share{r, n})
	}
	if total == 0 {
		return "the guest took no exit"
	}
	sort.Slice(shares, func(i, j int) bool {
		if shares[i].n != shares[j].n {
			return shares[i].n > shares[j].n
		}
		return shares[i].reason < shares[j].reason
	})
	s := fmt.Sprintf("a boot with %d vCPUs cost %d exits", a.VCPUs, total)
	for i, sh := range shares[:min(3, len(shares))] {
		sep := ", "
		if i == 0 {
			sep = ": "
		}
		s += fmt.Sprintf("%s%.0f %% %s", sep, 100*float64(sh.n)/float64(total), sh.reason)
	}
	return s
}
