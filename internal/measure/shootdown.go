package measure

import (
	"context"
	"errors"
	"fmt"

	"doorbell/internal/probe"
	"doorbell/internal/report"
	"doorbell/vmm"
)

const (
	shootdownRounds = 2
	// A guest maps a page with memory behind it, takes the right to write away and unmaps it, which is two shootdowns where they are needed. Without them it takes
	// about a fifth of the time: for the control to last as long it does so more often.
	shootdownPages, shootdownControlPages = 3000, 15000
)

// A shootdownArm is what the guest's last vCPU does meanwhile.
type shootdownArm struct {
	name, other string
	pages       int
}

// A shootdownRound is what one guest gave.
type shootdownRound struct {
	ns          float64 // by the guest's clock
	shots       float64
	first, last float64 // exits of the vCPU that changes its mappings, and of the other
}

// shootdownArms: the control spins as well, but in an address space of its own, whose translations nobody changes.
var shootdownArms = []shootdownArm{
	{"idles", "alone", shootdownControlPages},
	{"spins in another address space", "apart", shootdownControlPages},
	{"spins in the same address space", "shared", shootdownPages},
}

// Where the control and the shootdowns are in shootdownArms.
const shootdownControl, shootdownShared = 1, 2

// Shootdown is the experiment `shootdown`: what it costs a guest's kernel to have another vCPU forget a translation, by an IPI, whose exits are measured
// against a control without.
func Shootdown(ctx context.Context, cfg vmm.Config) (*report.Document, *vmm.Result, error) {
	if cfg.VCPUs < 2 {
		return nil, nil, errors.New("a TLB shootdown takes two vCPUs: -c 2")
	}
	doc := &report.Document{Environment: probe.Host()}
	cfg.Net = vmm.NetConfig{}
	rounds := make([][]shootdownRound, len(shootdownArms))
	var res *vmm.Result
	order := newRounds(ctx, shootdownRounds)
	failures := order.each(ctx, cfg, "shootdown", namesOf(shootdownArms, func(a shootdownArm) string { return a.name }), func(i int) error {
		c := cfg
		c.Cmdline += fmt.Sprintf(" doorbell.workload=shootdown=%d,%s", shootdownArms[i].pages, shootdownArms[i].other)
		w, err := runWorkload(ctx, c, &res)
		if err != nil {
			return err
		}
		if w.ns <= 0 {
			return errors.New("the guest's workload took no time by its clock")
		}
		row := w.counted.Interrupts.Row("TLB")
		if row == nil {
			return errors.New("the guest's /proc/interrupts has no row TLB")
		}
		rounds[i] = append(rounds[i], shootdownRound{w.ns, float64(row.Total), float64(w.exits[0]), float64(w.exits[len(w.exits)-1])})
		return nil
	})
	e, err := shootdownReport(rounds, func(e *report.Experiment, i int) bool {
		return missed(e, shootdownArms[i].name, failures[i], context.Cause(ctx), len(rounds[i]), order.n)
	})
	if err != nil {
		return nil, nil, err
	}
	for name, v := range order.parameters() {
		e.Parameters[name] = v
	}
	doc.Experiments = []report.Experiment{e}
	return doc, res, nil
}

// shootdownReport puts the rounds together; absent says whether an arm has none, and the experiment why.
func shootdownReport(rounds [][]shootdownRound, absent func(e *report.Experiment, arm int) bool) (report.Experiment, error) {
	e := report.Experiment{Name: "shootdown", Missing: map[string]string{}, Parameters: map[string]any{"pages_per_round": shootdownPages, "pages_per_round_without": shootdownControlPages},
		Literature: literatureShootdown, Table: &report.Table{
			Columns: []string{"the other vCPU", "shootdowns per page mapped, protected, unmapped", "exits of the first vCPU", "least", "most", "of the other", "least", "most"},
		}}
	picture := &report.Plot{Title: "exits per page mapped, protected and unmapped", Parts: []string{"of the vCPU that does it", "of the other"}}
	e.Plots = []*report.Plot{picture}
	for i, a := range shootdownArms {
		if absent(&e, i) {
			continue
		}
		var shots, first, last spread
		for _, r := range rounds[i] {
			pages := float64(a.pages)
			shots, first, last = append(shots, r.shots/pages), append(first, r.first/pages), append(last, r.last/pages)
		}
		row := map[string]any{"other_vcpu": a.name}
		shots.into(row, "shootdowns_per_page")
		first.into(row, "first_vcpu_exits_per_page")
		last.into(row, "other_vcpu_exits_per_page")
		cells := []string{a.name, fixed(shots.median(), 2)}
		for _, s := range []spread{first, last} {
			low, high := s.bounds()
			cells = append(cells, fixed(s.median(), 2), fixed(low, 2), fixed(high, 2))
		}
		if i == shootdownShared && len(rounds[shootdownControl]) > 0 {
			asks, forgets := shootdownCosts(rounds[i], rounds[shootdownControl])
			asks.into(row, "first_vcpu_exits_per_shootdown")
			forgets.into(row, "other_vcpu_exits_per_shootdown")
			e.Finding = "no more shootdowns in the same address space than in another"
			if len(asks) > 0 {
				e.Finding = fmt.Sprintf("a TLB shootdown costs the vCPU that asks for it %s exits and the one that forgets %s", fixed(asks.median(), 2), fixed(forgets.median(), 2))
			}
		}
		e.Rows, e.Table.Rows = append(e.Rows, row), append(e.Table.Rows, cells)
		picture.Bars = append(picture.Bars, bar(a.name, first.median(), last.median()))
	}
	if len(e.Rows) == 0 {
		return e, fmt.Errorf("no guest could be measured: %s", reasons(e.Missing))
	}
	if e.Finding == "" {
		e.Finding = "no control to hold the shootdowns against"
	}
	return e, nil
}

// shootdownCosts are the exits of one shootdown, round by round, less those that the control has in the same time: a guest that works has its ticks. A round with
// no more shootdowns than the control has none.
func shootdownCosts(shared, control []shootdownRound) (asks, forgets spread) {
	var first, last, shots spread // of the control, per ns
	for _, r := range control {
		first, last, shots = append(first, r.first/r.ns), append(last, r.last/r.ns), append(shots, r.shots/r.ns)
	}
	for _, r := range shared {
		n := r.shots - shots.median()*r.ns
		if n <= 0 {
			continue
		}
		asks, forgets = append(asks, (r.first-first.median()*r.ns)/n), append(forgets, (r.last-last.median()*r.ns)/n)
	}
	return asks, forgets
}
