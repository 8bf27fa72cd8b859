package measure

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"doorbell/internal/kvm"
	"doorbell/internal/kvmtrace"
	"doorbell/internal/probe"
	"doorbell/internal/report"
	"doorbell/vmm"
)

// What the experiment `ledger` does.
const (
	ledgerRounds  = 5
	ledgerBatches = 600 // of each arm in a round
	// A batch is this many pairs of a write and a read, after some that are not timed: so few that most batches are over before the host's timer, or
	// other work of the host's, interrupts them. Then the median is of those that nothing did.
	ledgerPairs, ledgerWarmUp = 10, 2
	// ledgerLimit is after how long a round is no longer waited for.
	ledgerLimit = time.Minute
)

// A countingArm is what is counted of a guest's exits while they are timed, and where they go.
type countingArm struct {
	ledger bool
	traced bool // by the histogram of kvm_exit, in the kernel
	stray  bool // to a port where no device is: the ledger finds the address in a table
}

// The arms. Those that are not traced take turns; the histogram is switched once in a round, since that changes the kernel's code.
var (
	plainArm       = countingArm{}
	ledgerArm      = countingArm{ledger: true}
	strayArm       = countingArm{stray: true}
	strayLedgerArm = countingArm{stray: true, ledger: true}
	tracedArm      = countingArm{ledger: true, traced: true}

	untracedArms = []countingArm{plainArm, ledgerArm, strayArm, strayLedgerArm}
)

// countings are what is compared: the same exits with something counted and without.
var countings = []struct {
	name      string
	with, out countingArm
}{
	{"ledger, a device's register", ledgerArm, plainArm},
	{"ledger, a port without a device", strayLedgerArm, strayArm},
	{"tracepoint kvm_exit, as a histogram", tracedArm, ledgerArm},
}

// Ledger is the experiment `ledger`: what doorbell's own counting costs an exit to doorbell, in parts of its round trip.
//
// What is compared is the loop of package vcpu with the bus of package vmm and a register's device, as every machine runs them, for the same vCPU on the same
// thread: with the ledger that counts an exit's reason and its register, and with a nil one. (The test for nil is in both.) With the tracepoint, which is
// counted in the kernel, the ledger counts in both. A round is a guest of its own, so that what depends on where its memory lies is in the bounds.
func Ledger(ctx context.Context, cfg vmm.Config) (doc *report.Document, _ *vmm.Result, err error) {
	doc = &report.Document{Environment: probe.Host()}
	b, err := openBench()
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	c := &countingCosts{ratios: make([]spread, len(countings)), plain: make([]spread, len(countings)), missing: map[string]string{}}
	order := newRounds(ctx, ledgerRounds)
	const arm = "a guest's exits, counted and not"
	failures := order.each(ctx, cfg, "ledger", []string{arm}, func(int) error {
		return c.round(b, rand.New(rand.NewPCG(order.seed, uint64(len(c.ratios[0])))))
	})
	e := c.report(doc.Environment.Emulated)
	if missed(&e, arm, failures[0], context.Cause(ctx), len(c.ratios[0]), order.n) {
		return nil, nil, fmt.Errorf("no round could be measured: %s", e.Missing[arm])
	}
	e.Parameters = order.parameters()
	e.Parameters["batches_per_round"], e.Parameters["exits_per_batch"] = ledgerBatches, exitsPerBatch
	doc.Experiments = []report.Experiment{b.cpus.placed(e)}
	return doc, nil, nil
}

// exitsPerBatch are the timed exits of a batch: its pairs, and half of the exits at both ends.
const exitsPerBatch = 2*ledgerPairs + 1

// countingCosts is what the rounds gave, by countings.
type countingCosts struct {
	ratios  []spread // of the median of the batches with it to that of those without
	plain   []spread // ns per exit without
	missing map[string]string
}

// round times a guest's exits with each arm.
func (c *countingCosts) round(b *bench, random *rand.Rand) (err error) {
	m, err := newExitMeter(b)
	if err != nil {
		return err
	}
	defer m.close()
	traced := func() error {
		trace, err := kvmtrace.Start(kvm.HostVendor(), []int{m.guest.CPU.TID()})
		if err != nil {
			c.missing[countings[2].name] = err.Error()
			return nil
		}
		defer trace.Close()
		before, _, err := trace.Read()
		if err != nil {
			return err
		}
		if err := m.run(slices.Repeat([]countingArm{tracedArm}, ledgerBatches)); err != nil {
			return err
		}
		after, _, err := trace.Read()
		if err != nil {
			return err
		}
		if n := total(after[0]) - total(before[0]); n < ledgerBatches*exitsPerBatch {
			return fmt.Errorf("the figures do not balance: %d exits made, %d seen by the tracepoint", ledgerBatches*exitsPerBatch, n)
		}
		return nil
	}
	untraced := func() error {
		var plan []countingArm
		for range ledgerBatches {
			for _, i := range random.Perm(len(untracedArms)) { // each of them once before any comes again: what drifts is shared by all
				plan = append(plan, untracedArms[i])
			}
		}
		return m.run(plan)
	}
	blocks := []func() error{traced, untraced}
	for _, i := range random.Perm(len(blocks)) {
		if err := blocks[i](); err != nil {
			return err
		}
	}
	for i, x := range countings {
		with, out := m.taken[x.with], m.taken[x.out]
		if len(with) > 0 {
			c.ratios[i] = append(c.ratios[i], with.median()/out.median())
			c.plain[i] = append(c.plain[i], out.median()/exitsPerBatch)
		}
	}
	return nil
}

// total is all exits of a vCPU.
func total(reasons map[string]uint64) (n uint64) {
	for _, c := range reasons {
		n += c
	}
	return n
}

// report puts the rows together.
func (c *countingCosts) report(emulatedHost bool) report.Experiment {
	e := report.Experiment{Name: "ledger", Missing: c.missing, Table: &report.Table{
		Columns: []string{"counted", "percent of an exit's round trip", "least", "most", "round trip, ÷ without", "ns without"},
	}}
	picture := plot("percent of an exit's round trip")
	e.Plots = []*report.Plot{picture}
	for i, x := range countings {
		ratios := c.ratios[i]
		if len(ratios) == 0 {
			continue
		}
		percent := make(spread, len(ratios))
		for n, r := range ratios {
			percent[n] = 100 * (r - 1)
		}
		row := map[string]any{"counted": x.name, "exits_timed": len(ratios) * ledgerBatches * exitsPerBatch}
		ratios.into(row, "round_trip_ratio")
		percent.into(row, "round_trip_percent")
		ns := "-"
		if emulatedHost {
			row["round_trip_without_ns"] = nil
			row["not_measured"] = map[string]string{"round_trip_without_ns": emulatedClock}
		} else {
			c.plain[i].into(row, "round_trip_without_ns")
			ns = fixed(c.plain[i].median(), 0)
		}
		e.Rows = append(e.Rows, row)
		low, high := percent.bounds()
		e.Table.Rows = append(e.Table.Rows, []string{x.name, fixed(percent.median(), 2), fixed(low, 2), fixed(high, 2), fixed(ratios.median(), 4), ns})
		picture.Bars = append(picture.Bars, bar(x.name, percent.median()))
		if e.Finding != "" {
			e.Finding += "; "
		}
		e.Finding += fmt.Sprintf("%s %s %%", x.name, fixed(percent.median(), 2))
	}
	e.Finding = "counting costs of an exit's round trip to doorbell: " + e.Finding
	return e
}
