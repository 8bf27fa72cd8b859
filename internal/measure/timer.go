package measure

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"doorbell/internal/device/mailbox"
	"doorbell/internal/guestreport"
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
	name     string
	cmdline  string
	spins    bool // every vCPU runs a program that never sleeps; otherwise they idle
	minVCPUs int
	pit      bool // the PIT is the timer, and there is one vCPU: it has one interrupt, and without ACPI Linux knows no other vCPU
}

// timerArms compare what idling costs, and what a tick costs those that work (Documentation/timers/no_hz.rst).
var timerArms = []timerArm{
	{"idle, tickless", "", false, 1, false},
	{"idle, periodic tick", "nohz=off highres=off", false, 1, false},
	{"idle, LAPIC one-shot instead of TSC-deadline", "lapic=notscdeadline", false, 1, false},
	{"idle, PIT instead of the LAPIC timer, one vCPU", pitOptions, false, 1, true},
	{"busy, tick", "", true, 2, false},
	{"busy, nohz_full on all but the first", "nohz_full=1-%d isolcpus=1-%d rcu_nocbs=1-%d", true, 2, false},
}

// pitOptions make the PIT the only timer that Linux finds. Our ACPI is hardware-reduced, in which Linux looks for none, so that it must do without ACPI;
// and without the local APIC, whose timer it prefers. To a vCPU without one KVM cannot tell that a page has come (kvm_arch_can_dequeue_async_page_present),
// and lets it not sleep as long as it has that to tell: no asynchronous page faults. Without ACPI the reset that ends the run is best by port 0xcf9; by
// the keyboard controller it takes 65,536 reads.
const pitOptions = "acpi=off nolapic no-kvmapf reboot=pci"

// vcpus are those of the arm's guest, where others have so many.
func (a timerArm) vcpus(vcpus int) int {
	if a.pit {
		return 1
	}
	return vcpus
}

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
	if a.pit {
		words += fmt.Sprintf(" doorbell.mailbox=%#x", mailbox.Base)
	}
	return strings.TrimSpace(fmt.Sprintf("%s doorbell.workload=%s=%d", words, kind, timerSeconds))
}

// timers are the interrupts of the guest's timers by its own /proc/interrupts: the local APICs', and the PIT's, which has no row where Linux did not find
// it. It is an error if they are not the arm's: then its figures are another's.
func (a timerArm) timers(counted *guestreport.Interrupts) (lapic, pit uint64, err error) {
	loc := counted.Row("LOC")
	if loc == nil {
		return 0, 0, errors.New("the guest does not count its timers' interrupts")
	}
	if row := counted.Row("0"); row != nil && row.Name == "timer" {
		pit = row.Total
	}
	if a.pit != (pit > 0) || a.pit && loc.Total > 0 {
		return 0, 0, fmt.Errorf("the guest had %d interrupts of local APICs' timers and %d of the PIT, which is not this arm's timer", loc.Total, pit)
	}
	return loc.Total, pit, nil
}

// Timer is the experiment `timer`: what a guest's time-keeping costs while its vCPUs idle, or work.
func Timer(ctx context.Context, cfg vmm.Config) (*report.Document, *vmm.Result, error) {
	doc := &report.Document{Environment: probe.Host()}
	cfg.Net = vmm.NetConfig{}
	all, last := make([]spread, len(timerArms)), make([]spread, len(timerArms))
	lapics, pits := make([]spread, len(timerArms)), make([]spread, len(timerArms))
	var res *vmm.Result
	order := newRounds(ctx, timerRounds)
	failures := order.each(ctx, cfg, "timer", namesOf(timerArms, func(a timerArm) string { return a.name }), func(i int) error {
		arm := timerArms[i]
		if cfg.VCPUs < arm.minVCPUs {
			return fmt.Errorf("it needs %d vCPUs: -c %d", arm.minVCPUs, arm.minVCPUs)
		}
		c := cfg
		c.VCPUs = arm.vcpus(cfg.VCPUs)
		c.Cmdline += " " + arm.options(cfg.VCPUs)
		w, err := runWorkload(ctx, c, &res)
		if err != nil {
			return err
		}
		exits := w.exits
		lapic, pit, err := arm.timers(&w.counted.Interrupts)
		if err != nil {
			return err
		}
		sum := uint64(0)
		for _, n := range exits {
			sum += n
		}
		all[i] = append(all[i], float64(sum)/timerSeconds/float64(len(exits)))
		last[i] = append(last[i], float64(exits[len(exits)-1])/timerSeconds)
		lapics[i] = append(lapics[i], float64(lapic)/timerSeconds/float64(len(exits)))
		pits[i] = append(pits[i], float64(pit)/timerSeconds/float64(len(exits)))
		return nil
	})
	e := report.Experiment{Name: "timer", Missing: map[string]string{}, Parameters: order.parameters(), Table: &report.Table{
		Columns: []string{"vCPUs, timer", "exits per second and vCPU", "least", "most", "of the last vCPU", "LAPIC timer interrupts per second and vCPU", "PIT interrupts per second and vCPU"},
	}}
	e.Parameters["seconds"] = timerSeconds
	cost := map[string]float64{}
	every, isolated := plot("exits per second and vCPU"), plot("exits per second of the last vCPU")
	e.Plots, e.Literature = []*report.Plot{every, isolated}, literatureTimer
	for i, a := range timerArms {
		if missed(&e, a.name, failures[i], context.Cause(ctx), len(all[i]), order.n) {
			continue
		}
		row := map[string]any{"arm": a.name, "cmdline": a.options(cfg.VCPUs), "vcpus": a.vcpus(cfg.VCPUs)}
		all[i].into(row, "exits_per_second_and_vcpu")
		last[i].into(row, "exits_per_second_of_last_vcpu")
		lapics[i].into(row, "timer_interrupts_per_second_and_vcpu")
		pits[i].into(row, "pit_interrupts_per_second_and_vcpu")
		e.Rows = append(e.Rows, row)
		cost[a.name] = all[i].median()
		every.Bars, isolated.Bars = append(every.Bars, bar(a.name, all[i].median())), append(isolated.Bars, bar(a.name, last[i].median()))
		low, high := all[i].bounds()
		e.Table.Rows = append(e.Table.Rows, []string{a.name, fixed(all[i].median(), 1), fixed(low, 1), fixed(high, 1), fixed(last[i].median(), 1),
			fixed(lapics[i].median(), 1), fixed(pits[i].median(), 1)})
	}
	if len(e.Rows) == 0 {
		return nil, nil, fmt.Errorf("none of the ways to keep time could be measured: %s", reasons(e.Missing))
	}
	e.Finding = "no arm to compare"
	if tickless, ok := cost[timerArms[0].name]; ok {
		e.Finding = fmt.Sprintf("an idle vCPU without a tick exited %.0f times a second", tickless)
		if periodic, ok := cost[timerArms[1].name]; ok {
			e.Finding += fmt.Sprintf(", with a periodic one %.0f times", periodic)
		}
		if pit, ok := cost[timerArms[3].name]; ok {
			e.Finding += fmt.Sprintf(", without one but with a PIT %.0f times", pit)
		}
	}
	doc.Experiments = []report.Experiment{e}
	return doc, res, nil
}
