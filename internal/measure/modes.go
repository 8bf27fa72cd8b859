package measure

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"doorbell/internal/kvm"
	"doorbell/internal/probe"
	"doorbell/internal/report"
	"doorbell/internal/traffic"
	"doorbell/internal/traffic/wire"
	"doorbell/irqchip"
	"doorbell/virtio/usernet"
	"doorbell/vmm"
)

// The load that every guest of `modes` gets, behind user-mode networking: bytes of a stream each way for each vCPU, and small requests, one
// after the other.
const (
	modesStreamBytes = 1 << 20
	modesRequests    = 200
)

// Modes is the experiment `modes`: the same guest under the same load on each of the three sets of interrupt controllers. One that this host does
// not offer, or whose guest fails, loses its column, with the reason.
func Modes(ctx context.Context, cfg vmm.Config) (*report.Document, *vmm.Result, error) {
	cfg.Vectors = true
	doc := &report.Document{Environment: probe.Host()}
	var columns []modeColumn
	missing := map[string]string{}
	var last *vmm.Result
	for i, chip := range irqchip.Names {
		cfg.Warn("measure modes: %d of %d: %s", i+1, len(irqchip.Names), chip)
		cfg.IRQChip = chip
		res, err := runMode(ctx, cfg)
		var lacks *kvm.NotSupportedError
		switch {
		case errors.As(err, &lacks):
			missing[chip] = lacks.Error()
			continue
		case err != nil && res == nil:
			return nil, nil, fmt.Errorf("%s: %w", chip, err)
		case err != nil:
			missing[chip] = err.Error()
		case res.Account.IRQChip != chip:
			missing[chip] = "this host's kernel has no in-kernel IOAPIC"
			continue
		}
		last = res
		if err == nil {
			columns = append(columns, newModeColumn(res))
		}
		if res.End != vmm.PoweredOff {
			break // stopped by the user, or crashed: what has finished is kept
		}
	}
	if last == nil {
		return nil, nil, fmt.Errorf("none of the controllers could be measured: %v", missing)
	}
	doc.Experiments = []report.Experiment{modesExperiment(columns, missing, doc.Environment.Emulated)}
	return doc, last, nil
}

// runMode boots one guest and gives it the load. res is nil if there was no guest; an error beside a result is the load's.
func runMode(ctx context.Context, cfg vmm.Config) (res *vmm.Result, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var load func() error
	switch {
	case strings.Contains(cfg.Cmdline, "doorbell.workload="): // the user's own
	case cfg.Net.Backend == "user":
		c, err := traffic.Listen("127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer c.Close()
		cfg.Cmdline += fmt.Sprintf(" doorbell.workload=traffic=%v:%d", usernet.Gateway(), c.Addr().Port())
		load = func() error { return modesLoad(ctx, c, cfg.VCPUs) }
	default:
		cfg.Cmdline += " doorbell.workload=console=65536"
	}
	m, err := vmm.New(cfg)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	failed := make(chan error, 1)
	if load == nil {
		failed <- nil
	} else {
		go func() {
			err := load()
			if err != nil {
				cancel(fmt.Errorf("a load that failed: %w", err))
			}
			failed <- err
		}()
	}
	res, err = m.Run(ctx)
	if err != nil {
		return nil, err
	}
	cancel(errors.New("the guest has ended"))
	if err := <-failed; err != nil {
		return res, fmt.Errorf("the load: %w", err)
	}
	if res.End != vmm.PoweredOff {
		return res, fmt.Errorf("the guest ended: %s", res.Reason)
	}
	return res, nil
}

// modesLoad is the controller's side of the load.
func modesLoad(ctx context.Context, c *traffic.Controller, vcpus int) error {
	g, err := c.Accept(ctx)
	if err != nil {
		return err
	}
	cpus := make([]int, vcpus)
	for i := range cpus {
		cpus[i] = i
	}
	o := traffic.StreamOptions{Placement: traffic.Placement{Flows: vcpus, CPUs: cpus}, BytesPerFlow: modesStreamBytes, Check: wire.CheckSHA256}
	if _, err := g.StreamUp(ctx, o); err != nil {
		return err
	}
	if _, err := g.StreamDown(ctx, o); err != nil {
		return err
	}
	if _, err := g.RoundTrips(ctx, traffic.RoundTripOptions{Count: modesRequests}); err != nil {
		return err
	}
	return g.End(ctx)
}

// modeColumn is one guest's figures.
type modeColumn struct {
	chip    string
	figures map[string]*float64
}

// modeFigures are the rows, in the order in which they are shown. Those with a reason's name come after them.
var modeFigures = []struct{ name, title string }{
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

func newModeColumn(r *vmm.Result) modeColumn {
	a := &r.Account
	c := modeColumn{chip: a.IRQChip, figures: map[string]*float64{}}
	set := func(name string, v float64) { c.figures[name] = &v }
	add := func(name string, v *uint64) {
		if v == nil {
			return
		}
		sum := float64(*v)
		if was := c.figures[name]; was != nil {
			sum += *was
		}
		set(name, sum)
	}
	add("exits", a.ExitsTotal)
	var user uint64
	for _, n := range a.UserspaceReasons {
		user += n
	}
	set("userspace_exits", float64(user))
	if r.Agent != nil {
		var seen uint64
		for _, row := range r.Agent.After.Interrupts.Rows {
			seen += row.Total
		}
		set("guest_interrupts", float64(seen))
		if a.ExitsTotal != nil && seen > 0 {
			set("exits_per_interrupt", float64(*a.ExitsTotal)/float64(seen))
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
		set("boot_to_userspace_s", *a.BootToUserspaceS)
	}
	for reason, n := range a.ExitsByReason {
		set("exits_"+reason, float64(n))
	}
	return c
}

// modesExperiment puts the columns side by side.
func modesExperiment(columns []modeColumn, missing map[string]string, emulated bool) report.Experiment {
	e := report.Experiment{Name: "modes", Rows: []map[string]any{}, Missing: missing}
	for _, c := range columns {
		if base := columns[0].figures["boot_to_userspace_s"]; base != nil && c.figures["boot_to_userspace_s"] != nil && columns[0].chip == irqchip.KernelName {
			ratio := *c.figures["boot_to_userspace_s"] / *base
			c.figures["boot_ratio"] = &ratio
		}
		row := map[string]any{"irqchip": c.chip}
		for name, v := range c.figures {
			row[name] = v
		}
		for _, f := range modeFigures {
			if _, ok := row[f.name]; !ok {
				row[f.name] = nil
			}
		}
		if emulated {
			row["boot_to_userspace_s"] = nil
			row["not_measured"] = map[string]string{"boot_to_userspace_s": emulatedClock}
		}
		e.Rows = append(e.Rows, row)
	}
	e.Finding = modesFinding(columns)
	e.Table = modesTable(columns)
	return e
}

// modesFinding is the difference in one sentence.
func modesFinding(columns []modeColumn) string {
	var parts []string
	for _, c := range columns {
		if n := c.figures["exits_per_interrupt"]; n != nil {
			parts = append(parts, fmt.Sprintf("%.2f exits with %s", *n, c.chip))
		}
	}
	if len(parts) == 0 {
		return "nothing to compare: no guest has reported its interrupts"
	}
	return "under the same load, an interrupt of the same guest came with " + strings.Join(parts, ", ")
}

// modesTable has a row for each figure and for each exit reason that matters.
func modesTable(columns []modeColumn) *report.Table {
	t := &report.Table{Columns: []string{""}}
	for _, c := range columns {
		t.Columns = append(t.Columns, c.chip)
	}
	line := func(title, name string) {
		cells := []string{title}
		any := false
		for _, c := range columns {
			cell := "-"
			if v := c.figures[name]; v != nil {
				any = true
				cell = fmt.Sprintf("%.0f", *v)
				if strings.HasSuffix(name, "ratio") || strings.Contains(name, "_per_") {
					cell = fmt.Sprintf("%.2f", *v)
				}
			}
			cells = append(cells, cell)
		}
		if any {
			t.Rows = append(t.Rows, cells)
		}
	}
	for _, f := range modeFigures {
		line(f.title, f.name)
	}
	reasons := map[string]float64{}
	for _, c := range columns {
		for name, v := range c.figures {
			if reason, ok := strings.CutPrefix(name, "exits_"); ok && !strings.HasPrefix(reason, "per_") {
				reasons[reason] = max(reasons[reason], *v)
			}
		}
	}
	names := make([]string, 0, len(reasons))
	for r := range reasons {
		names = append(names, r)
	}
	slices.SortFunc(names, func(a, b string) int {
		if reasons[a] != reasons[b] {
			return int(reasons[b] - reasons[a])
		}
		return strings.Compare(a, b)
	})
	for _, r := range names[:min(len(names), maxReasons)] {
		line("exits: "+r, "exits_"+r)
	}
	return t
}

// maxReasons is how many exit reasons a person is shown.
const maxReasons = 8
