package measure

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"doorbell/internal/probe"
	"doorbell/internal/report"
	"doorbell/vmm"
)

const (
	timerRounds = 2
	// timerSeconds is how long each guest is watched, by its own clock.
	timerSeconds = 4
)

// A timerArm is a way for Linux to keep time, and what its processors do meanwhile.
type timerArm struct {
	name    string
	cmdline string
	spins   bool // every vCPU runs a program that never sleeps; otherwise they idle
	vcpus   int  // at least
}

// timerArms compare what idling costs, and what a tick costs those that work (Documentation/timers/no_hz.rst).
var timerArms = []timerArm{
	{"idle, tickless", "", false, 1},
	{"idle, periodic tick", "nohz=off highres=off", false, 1},
	{"idle, LAPIC one-shot instead of TSC-deadline", "lapic=notscdeadline", false, 1},
	{"busy, tick", "", true, 2},
	{"busy, nohz_full on all but the first", "nohz_full=1-%d isolcpus=1-%d rcu_nocbs=1-%d", true, 2},
}

// noPIT is why there is no arm with a PIT: its timer would be the only one of a machine whose firmware is not hardware-reduced.
const noPIT = "doorbell's machine is hardware-reduced ACPI's, in which Linux uses no PIT, whatever its command line says"

// options is what the arm adds to a command line, for that many vCPUs.
func (a timerArm) options(vcpus int) string {
	words := a.cmdline
	if strings.Contains(words, "%d") {
		words = strings.ReplaceAll(words, "%d", fmt.Sprint(vcpus-1))
	}
	kind := "idle"
	if a.spins {
		kind = "spin"
	}
	return strings.TrimSpace(fmt.Sprintf("%s doorbell.workload=%s=%d", words, kind, timerSeconds))
}

// workloadExits are the exits of each vCPU between the workload's start and its end.
func workloadExits(a *vmm.Account) ([]uint64, error) {
	at := func(name string) []uint64 {
		i := slices.IndexFunc(a.Phases, func(p vmm.Phase) bool { return p.Name == name })
		if i < 0 {
			return nil
		}
		return a.Phases[i].Exits
	}
	start, end := at("guest: workload-start"), at("guest: workload-end")
	if start == nil || len(start) != len(end) {
		return nil, errors.New("the exits of the workload alone are not known")
	}
	exits := make([]uint64, len(end))
	for i := range end {
		exits[i] = end[i] - start[i]
	}
	return exits, nil
}

// Timer is the experiment `timer`: what a guest's time-keeping costs while its vCPUs idle, or work.
func Timer(ctx context.Context, cfg vmm.Config) (*report.Document, *vmm.Result, error) {
	doc := &report.Document{Environment: probe.Host()}
	cfg.Net = vmm.NetConfig{}
	all, last, ticks := make([]spread, len(timerArms)), make([]spread, len(timerArms)), make([]spread, len(timerArms))
	var res *vmm.Result
	order := newRounds(ctx, timerRounds)
	failures := order.each(ctx, cfg, "timer", namesOf(timerArms, func(a timerArm) string { return a.name }), func(i int) error {
		arm := timerArms[i]
		if cfg.VCPUs < arm.vcpus {
			return fmt.Errorf("it needs %d vCPUs: -c %d", arm.vcpus, arm.vcpus)
		}
		c := cfg
		c.Cmdline += " " + arm.options(cfg.VCPUs)
		r, err := runLoaded(ctx, c, nil)
		if r != nil {
			res = r
		}
		if err != nil {
			return err
		}
		exits, err := workloadExits(&r.Account)
		if err != nil {
			return err
		}
		sum := uint64(0)
		for _, n := range exits {
			sum += n
		}
		all[i] = append(all[i], float64(sum)/timerSeconds/float64(len(exits)))
		last[i] = append(last[i], float64(exits[len(exits)-1])/timerSeconds)
		if r.Agent != nil {
			delta := r.Agent.Delta()
			if row := delta.Interrupts.Row("LOC"); row != nil {
				ticks[i] = append(ticks[i], float64(row.Total)/timerSeconds/float64(len(exits)))
			}
		}
		return nil
	})
	e := report.Experiment{Name: "timer", Missing: map[string]string{"idle, PIT": noPIT}, Parameters: order.parameters(), Table: &report.Table{
		Columns: []string{"vCPUs, timer", "exits per second and vCPU", "least", "most", "of the last vCPU", "LAPIC timer interrupts per second and vCPU"},
	}}
	e.Parameters["seconds"], e.Parameters["vcpus"] = timerSeconds, cfg.VCPUs
	cost := map[string]float64{}
	every, isolated := plot("exits per second and vCPU"), plot("exits per second of the last vCPU")
	e.Plots, e.Literature = []*report.Plot{every, isolated}, literatureTimer
	for i, a := range timerArms {
		if missed(&e, a.name, failures[i], context.Cause(ctx), len(all[i]), order.n) {
			continue
		}
		row := map[string]any{"arm": a.name, "cmdline": a.options(cfg.VCPUs)}
		all[i].into(row, "exits_per_second_and_vcpu")
		last[i].into(row, "exits_per_second_of_last_vcpu")
		ticks[i].into(row, "timer_interrupts_per_second_and_vcpu")
		e.Rows = append(e.Rows, row)
		cost[a.name] = all[i].median()
		every.Bars, isolated.Bars = append(every.Bars, bar(a.name, all[i].median())), append(isolated.Bars, bar(a.name, last[i].median()))
		low, high := all[i].bounds()
		loc := "-"
		if len(ticks[i]) > 0 {
			loc = fixed(ticks[i].median(), 1)
		}
		e.Table.Rows = append(e.Table.Rows, []string{a.name, fixed(all[i].median(), 1), fixed(low, 1), fixed(high, 1), fixed(last[i].median(), 1), loc})
	}
	if len(e.Rows) == 0 {
		return nil, nil, fmt.Errorf("none of the ways to keep time could be measured: %v", e.Missing)
	}
	e.Finding = "no arm to compare"
	if tickless, ok := cost[timerArms[0].name]; ok {
		e.Finding = fmt.Sprintf("an idle vCPU without a tick exited %.0f times a second", tickless)
		if periodic, ok := cost[timerArms[1].name]; ok {
			e.Finding += fmt.Sprintf(", with a periodic one %.0f times", periodic)
		}
	}
	doc.Experiments = []report.Experiment{e}
	return doc, res, nil
}
