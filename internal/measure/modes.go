package measure

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"

	"doorbell/internal/probe"
	"doorbell/internal/report"
	"doorbell/irqchip"
	"doorbell/vmm"
)

// The load that every guest of `modes` gets, behind user-mode networking: bytes of a stream each way for each vCPU, and small requests, one
// after the other.
const (
	modesRounds      = 2
	modesStreamBytes = 1 << 20
	modesRequests    = 200
)

// Modes is the experiment `modes`: the same guest under the same load on each of the three sets of interrupt controllers. One that this host does
// not offer, or whose guest fails, loses its column, with the reason.
func Modes(ctx context.Context, cfg vmm.Config) (*report.Document, *vmm.Result, error) {
	cfg.Vectors = true
	doc := &report.Document{Environment: probe.Host()}
	columns := make([][]column, len(irqchip.Names))
	var last *vmm.Result
	order := newRounds(ctx, modesRounds)
	failures := order.each(ctx, cfg, "modes", irqchip.Names, func(i int) error {
		c := cfg
		c.IRQChip = irqchip.Names[i]
		res, err := runMode(ctx, c)
		if err == nil && res.Account.IRQChip != c.IRQChip {
			err = errors.New("this host's kernel has no in-kernel IOAPIC")
			res = nil
		}
		if res != nil {
			last = res
		}
		if err == nil {
			columns[i] = append(columns[i], newModeColumn(res))
		}
		return err
	})
	if last == nil {
		return nil, nil, fmt.Errorf("none of the controllers could be measured: %w", cmp.Or(together(failures...), context.Cause(ctx)))
	}
	e := report.Experiment{Name: "modes", Rows: []map[string]any{}, Missing: map[string]string{}, Parameters: order.parameters()}
	e.Parameters["irqchip"] = strings.Join(irqchip.Names, ", ")
	var arms []modeArm
	for i, chip := range irqchip.Names {
		if missed(&e, chip, failures[i], context.Cause(ctx), len(columns[i]), order.n) {
			continue
		}
		c, bounds := columnOf(chip, columns[i])
		arms = append(arms, modeArm{c, bounds})
	}
	modesExperiment(&e, arms, doc.Environment.Emulated)
	doc.Experiments = []report.Experiment{e}
	return doc, last, nil
}

// modeArm is what the rounds of one set of controllers gave.
type modeArm struct {
	column
	bounds map[string]any
}

// runMode boots one guest and gives it the load.
func runMode(ctx context.Context, cfg vmm.Config) (res *vmm.Result, err error) {
	switch {
	case strings.Contains(cfg.Cmdline, "doorbell.workload="): // the user's own
		return runLoaded(ctx, cfg, nil)
	case cfg.Net.Backend == "user":
		c, err := listenFor(&cfg)
		if err != nil {
			return nil, err
		}
		defer c.Close()
		return runLoaded(ctx, cfg, func(ctx context.Context) error {
			return guestLoad{cfg.VCPUs, modesStreamBytes, modesRequests}.run(ctx, c)
		})
	}
	cfg.Cmdline += " doorbell.workload=console=65536"
	return runLoaded(ctx, cfg, nil)
}

// modeFigures are the rows, in the order in which they are shown. Those with a reason's name come after them.
var modeFigures = []figure{
	{"exits", "VM exits"},
	{"userspace_exits", "of these, to doorbell"},
	{"guest_interrupts", "interrupts that the guest saw"},
	{"exits_per_interrupt", "exits per interrupt"},
	{"vectors_raised", "vectors raised"},
	{"vectors_delivered", "vectors delivered"},
	{"vectors_coalesced", "vectors coalesced"},
	{"eois", "EOIs"},
	{"eois_without_exit", "of these, without an exit"},
	{"ipis", "IPIs"},
	{"kicks_asked", "kicks asked"},
	{"kicks_sent", "kicks sent"},
	{"interrupt_windows", "interrupt windows asked of KVM"},
	{"kvm_interrupt", "vectors by KVM_INTERRUPT"},
	{"ioapic_eoi_exits", "IOAPIC_EOI exits"},
	{"boot_ratio", "time to userspace / kernel's"},
}

func newModeColumn(r *vmm.Result) column {
	a := &r.Account
	c := column{name: a.IRQChip, figures: map[string]*float64{}}
	add := func(name string, v *uint64) {
		if v == nil {
			return
		}
		sum := float64(*v)
		if was := c.figures[name]; was != nil {
			sum += *was
		}
		c.set(name, sum)
	}
	add("exits", a.ExitsTotal)
	c.set("userspace_exits", float64(userspaceExits(r)))
	if r.Agent != nil {
		var seen uint64
		for _, row := range r.Agent.After.Interrupts.Rows {
			seen += row.Total
		}
		c.set("guest_interrupts", float64(seen))
		if a.ExitsTotal != nil && seen > 0 {
			c.set("exits_per_interrupt", float64(*a.ExitsTotal)/float64(seen))
		}
	}
	for _, v := range a.Interrupts.Vectors {
		add("vectors_raised", v.Raised)
		add("vectors_delivered", v.Delivered)
		add("vectors_coalesced", v.Coalesced)
		add("eois", v.EOIs)
		add("eois_without_exit", v.EOIsWithoutExit)
	}
	for _, i := range a.Interrupts.IPIs {
		add("ipis", &i.Count)
	}
	for _, k := range a.Interrupts.Kicks {
		sent := k.Signals + k.Wakeups
		add("kicks_asked", &k.Asked)
		add("kicks_sent", &sent)
		add("interrupt_windows", &k.Windows)
		add("kvm_interrupt", &k.Injected)
	}
	eois := a.UserspaceReasons["ioapic_eoi"]
	add("ioapic_eoi_exits", &eois)
	if a.BootToUserspaceS != nil {
		c.set("boot_to_userspace_s", *a.BootToUserspaceS)
	}
	for reason, n := range a.ExitsByReason {
		c.set("exits_"+reason, float64(n))
	}
	return c
}

// modesExperiment puts the columns side by side.
func modesExperiment(e *report.Experiment, arms []modeArm, emulated bool) {
	columns := make([]column, len(arms))
	for i, a := range arms {
		columns[i] = a.column
	}
	for i, c := range columns {
		if base := columns[0].figures["boot_to_userspace_s"]; base != nil && c.figures["boot_to_userspace_s"] != nil && columns[0].name == irqchip.KernelName {
			ratio := *c.figures["boot_to_userspace_s"] / *base
			c.figures["boot_ratio"] = &ratio
		}
		row := c.row("irqchip", modeFigures)
		maps.Copy(row, arms[i].bounds)
		if emulated {
			for _, name := range []string{"boot_to_userspace_s", "boot_to_userspace_s_low", "boot_to_userspace_s_high"} {
				row[name] = nil
			}
			row["not_measured"] = map[string]string{"boot_to_userspace_s": emulatedClock}
		}
		e.Rows = append(e.Rows, row)
	}
	e.Finding = modesFinding(columns)
	e.Table = sideBySide(columns, modeFigures)
	e.Literature = literatureModes
	e.Plots = []*report.Plot{columnsPlot("exits per interrupt that the guest saw", columns, "exits_per_interrupt")}
}

// modesFinding is the difference in one sentence.
func modesFinding(columns []column) string {
	var parts []string
	for _, c := range columns {
		if n := c.figures["exits_per_interrupt"]; n != nil {
			parts = append(parts, fmt.Sprintf("%.2f exits with %s", *n, c.name))
		}
	}
	if len(parts) == 0 {
		return "nothing to compare: no guest has reported its interrupts"
	}
	return "under the same load, an interrupt of the same guest came with " + strings.Join(parts, ", ")
}
