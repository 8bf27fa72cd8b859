package measure

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"doorbell/internal/guestreport"
	"doorbell/internal/report"
	"doorbell/internal/traffic"
	"doorbell/internal/traffic/wire"
	"doorbell/vmm"
)

func TestRounds(t *testing.T) {
	var first []int
	for range 2 {
		var order []int
		rounds{n: 3, seed: 7}.run(context.Background(), 5, func(round, arm int) { order = append(order, 10*round+arm) })
		if sorted := slices.Sorted(slices.Values(order)); !reflect.DeepEqual(sorted, []int{0, 1, 2, 3, 4, 10, 11, 12, 13, 14, 20, 21, 22, 23, 24}) {
			t.Errorf("%v", order)
		}
		if first != nil && !slices.Equal(first, order) {
			t.Errorf("one seed gave %v and %v", first, order)
		}
		first = order
	}
	ctx, cancel := context.WithCancel(context.Background())
	n := 0
	newRounds(ctx, 3).run(ctx, 5, func(int, int) {
		if n++; n == 7 {
			cancel()
		}
	})
	if n != 7 {
		t.Errorf("%d arms after the end", n)
	}
}

// TestOrders: what a user asks for is what runs and what is printed; a seed gives its orders back, and one seed is for all experiments of a run.
func TestOrders(t *testing.T) {
	const set = 3
	seed := uint64(12)
	order := func(r rounds) (all []int) {
		r.run(context.Background(), 27, func(_, arm int) { all = append(all, arm) })
		return all
	}
	ctx := context.Background()
	for _, c := range []struct {
		name string
		ctx  context.Context
		n    int
	}{
		{"alone", ctx, set}, {"of several", short(ctx), shortRounds},
		{"asked", WithRoundOptions(ctx, RoundOptions{Rounds: 5, Seed: &seed}), 5}, {"asked, of several", short(WithRoundOptions(ctx, RoundOptions{Rounds: 5, Seed: &seed})), 5},
		{"once", WithRoundOptions(ctx, RoundOptions{Rounds: 1}), 1}, {"seed only, of several", short(WithRoundOptions(ctx, RoundOptions{Seed: &seed})), shortRounds},
	} {
		r := newRounds(c.ctx, roundsIn(c.ctx, set))
		if asked := roundOptionsOf(c.ctx).Seed; r.n != c.n || asked != nil && r.seed != *asked || r.parameters()["rounds"] != c.n || r.parameters()["seed"] != r.seed {
			t.Errorf("%s: %+v, printed as %v", c.name, r, r.parameters())
		}
		// As a reader of the report has it, and gives it back.
		var printed struct{ Seed float64 }
		b, err := json.Marshal(r.parameters())
		if err == nil {
			err = json.Unmarshal(b, &printed)
		}
		again := uint64(printed.Seed)
		if got := newRounds(WithRoundOptions(ctx, RoundOptions{Rounds: r.n, Seed: &again}), set); err != nil || !slices.Equal(order(got), order(r)) {
			t.Errorf("%s: %v: seed %v gave %v, then %v", c.name, err, printed.Seed, order(r), order(got))
		}
	}
	if a, b := newRounds(ctx, set), newRounds(ctx, set); a.seed == b.seed {
		t.Errorf("two runs have the seed %d", a.seed)
	}
	var seeds []uint64
	run := Experiment{Name: "x", Run: func(ctx context.Context, _ vmm.Config) (*report.Document, *vmm.Result, error) {
		seeds = append(seeds, newRounds(ctx, set).seed)
		return &report.Document{Experiments: []report.Experiment{{Name: "x"}}}, nil, nil
	}}
	if _, _, err := (Set{run, run}).Run(ctx, vmm.Config{}); err != nil || len(seeds) != 2 || seeds[0] != seeds[1] {
		t.Errorf("%v: the experiments of one run have the seeds %v", err, seeds)
	}
	for n, want := range map[int]string{1: "0 %", 2: "50 %", 3: "75 %", 5: "94 %", 8: "more than 99 %", MaxRounds: "more than 99 %"} {
		if got := (rounds{n: n}).parameters()["confidence_of_least_to_most"]; got != want {
			t.Errorf("%d rounds: %v", n, got)
		}
	}
}

func TestSpread(t *testing.T) {
	row := map[string]any{}
	spread{3, 1, 2}.into(row, "odd")
	spread{4, 1, 2, 3}.into(row, "even")
	spread(nil).into(row, "none")
	want := map[string]any{
		"odd": 2.0, "odd_low": 1.0, "odd_high": 3.0, "even": 2.5, "even_low": 1.0, "even_high": 4.0, "none": nil, "none_low": nil, "none_high": nil,
	}
	if !reflect.DeepEqual(row, want) {
		t.Errorf("%v", row)
	}
}

func TestWorkloadExits(t *testing.T) {
	a := &vmm.Account{Phases: []vmm.Phase{
		{Name: "guest: userspace", Exits: []uint64{5, 1}}, {Name: "guest: workload-start", Exits: []uint64{10, 2}}, {Name: "guest: workload-end", Exits: []uint64{110, 52}},
	}}
	if got, err := workloadExits(a); err != nil || !slices.Equal(got, []uint64{100, 50}) {
		t.Errorf("%v, %v", got, err)
	}
	for name, a := range map[string]*vmm.Account{
		"no workload":   {},
		"not ended":     {Phases: a.Phases[:2]},
		"an old kernel": {Phases: []vmm.Phase{{Name: "guest: workload-start"}, {Name: "guest: workload-end"}}},
	} {
		if got, err := workloadExits(a); err == nil {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestTimerInterrupts: an arm whose timer is not the one that the guest used has no figures.
func TestTimerInterrupts(t *testing.T) {
	loc := func(n uint64) guestreport.Interrupt { return guestreport.Interrupt{IRQ: "LOC", Total: n} }
	irq0 := func(n uint64) guestreport.Interrupt { return guestreport.Interrupt{IRQ: "0", Name: "timer", Total: n} }
	for _, tc := range []struct {
		name       string
		pit        bool
		rows       []guestreport.Interrupt
		lapic, irq uint64
		ok         bool
	}{
		{"local APIC's", false, []guestreport.Interrupt{loc(7)}, 7, 0, true},
		{"PIT's", true, []guestreport.Interrupt{irq0(9), loc(0)}, 0, 9, true},
		{"both", true, []guestreport.Interrupt{irq0(9), loc(1)}, 0, 0, false},
		{"both without asking for the PIT", false, []guestreport.Interrupt{irq0(9), loc(1)}, 0, 0, false},
		{"local APIC's instead of the PIT's", true, []guestreport.Interrupt{loc(7)}, 0, 0, false},
		{"PIT's instead of the local APIC's", false, []guestreport.Interrupt{irq0(9), loc(0)}, 0, 0, false},
		{"none", true, []guestreport.Interrupt{irq0(0), loc(0)}, 0, 0, false},
		{"a local APIC's that was not needed", false, []guestreport.Interrupt{loc(0)}, 0, 0, true},
		{"not counted", false, nil, 0, 0, false},
	} {
		lapic, irq, err := timerArm{pit: tc.pit}.timers(&guestreport.Interrupts{Rows: tc.rows})
		if lapic != tc.lapic || irq != tc.irq || (err == nil) != tc.ok {
			t.Errorf("%s: %d and %d, %v", tc.name, lapic, irq, err)
		}
	}
}

func TestTimerOptions(t *testing.T) {
	if got := timerArms[5].options(4); got != "nohz_full=1-3 isolcpus=1-3 rcu_nocbs=1-3 doorbell.workload=spin=4" {
		t.Errorf("%q", got)
	}
	if got := timerArms[3].options(4); got != "acpi=off nolapic no-kvmapf reboot=pci doorbell.mailbox=0xd0000000 doorbell.workload=idle=4" {
		t.Errorf("%q", got)
	}
	if got := ownEnd(timerArms[3].options(4)); got != vmm.Reset {
		t.Errorf("without ACPI a guest ends by itself with %q", got)
	}
	if got := ownEnd(timerArms[0].options(4)); got != vmm.PoweredOff {
		t.Errorf("with ACPI a guest ends by itself with %q", got)
	}
	if got := timerArms[0].options(2); got != "doorbell.workload=idle=4" {
		t.Errorf("%q", got)
	}
}

// TestCoalesceExperiment: times and rates are ratios to the first arm; an arm that failed has its reason and no row.
func TestCoalesceExperiment(t *testing.T) {
	rows := make([]coalesceRow, len(coalesceArms))
	flooded := func(perSecond float64) flood {
		return flood{perSecond: spread{perSecond}, interruptsEach: spread{0.004}, exitsEach: spread{0.5}}
	}
	rows[0] = coalesceRow{packets: 100, interrupts: 100, perInterrupt: spread{1}, interruptsEach: spread{1}, timersEach: spread{0}, exitsEach: spread{3}, ownEach: spread{0.1}, latency: spread{200}, flood: flooded(20_000)}
	rows[1] = coalesceRow{packets: 100, interrupts: 25, perInterrupt: spread{4}, interruptsEach: spread{0.25}, timersEach: spread{0}, exitsEach: spread{1}, ownEach: spread{0.1}, latency: spread{900}, flood: flooded(30_000)}
	rows[2] = coalesceRow{err: errors.New("refused")}
	rows[4] = coalesceRow{packets: 100, interrupts: 5, perInterrupt: spread{20}, interruptsEach: spread{0.05}, timersEach: spread{0}, latency: spread{900}, flood: flood{perSecond: spread{10_000}, interruptsEach: spread{0.01}}, err: errors.New("a datagram was lost")}
	rows[6] = coalesceRow{packets: 200, interrupts: 2, perInterrupt: spread{50}, interruptsEach: spread{0.02, 0}, timersEach: spread{0, 0}, latency: spread{100, 100}, flood: flood{perSecond: spread{10_000, 20_000}, interruptsEach: spread{0.002, 0.004}, exitsEach: spread{1, 2}}}
	e := coalesceExperiment(rows, rounds{n: 2}, nil)
	if len(e.Rows) != 4 || e.Rows[0]["latency_ratio"] != 1.0 || e.Rows[1]["latency_ratio"] != 4.5 || e.Rows[1]["packets_per_interrupt"] != 4.0 {
		t.Errorf("%v", e.Rows)
	}
	for i, want := range []any{1.0, 1.5, 0.5, 0.75} {
		if got := e.Rows[i]["throughput_ratio"]; got != want {
			t.Errorf("row %d: throughput ratio %v, want %v", i, got, want)
		}
	}
	if e.Rows[1]["flood_exits_per_packet"] != 0.5 || e.Rows[2]["flood_exits_per_packet"] != nil || e.Rows[3]["flood_interrupts_per_packet"] != 0.003 {
		t.Errorf("%v", e.Rows)
	}
	for _, cells := range e.Table.Rows {
		if len(cells) != len(e.Table.Columns) {
			t.Errorf("%d cells in %d columns", len(cells), len(e.Table.Columns))
		}
	}
	if p := e.Plots[len(e.Plots)-1]; len(p.Bars) != 4 || p.Bars[1].Values[0] != 1.5 {
		t.Errorf("%+v", p)
	}
	if why := e.Missing[coalesceArms[4].name+" (1 of 2 rounds)"]; why != "a datagram was lost" {
		t.Errorf("%v", e.Missing)
	}
	if e.Missing[coalesceArms[2].name] != "refused" || e.Missing[coalesceArms[3].name] != "it did not run" {
		t.Errorf("%v", e.Missing)
	}
	// Of a round without an interrupt there is no number of packets for one.
	if polled := e.Rows[3]; polled["packets_per_interrupt"] != nil || polled["interrupts_per_packet"] != 0.01 {
		t.Errorf("%v", polled)
	}
	// The arm that it would compare was not measured.
	if e.Finding != "without coalescing 1.0 packets to an interrupt, 3.00 exits to a packet" {
		t.Errorf("%q", e.Finding)
	}
	rows[2] = rows[1]
	if e := coalesceExperiment(rows, rounds{n: 2}, nil); !strings.HasSuffix(e.Finding, ", 4.5 times the time of a request that waits alone, and 1.50 times the packets a second of a flood") {
		t.Errorf("%q", e.Finding)
	}
	// Without the arm to compare with there is no ratio.
	rows[0] = coalesceRow{err: errors.New("refused")}
	if e := coalesceExperiment(rows, rounds{n: 2}, nil); e.Rows[0]["throughput_ratio"] != nil || e.Rows[0]["latency_ratio"] != nil {
		t.Errorf("%v", e.Rows[0])
	}
}

// TestFlood: a flood of which something was lost is not in the figures, but in what is said of them.
func TestFlood(t *testing.T) {
	var f flood
	round := func(received uint64, took time.Duration, interrupts uint64, known bool) *reception {
		counted := wire.Snapshot{Snapshot: guestreport.Snapshot{Interrupts: guestreport.Interrupts{Rows: []guestreport.Interrupt{{Name: "virtio1-input.0", Total: interrupts}}}}}
		return &reception{packets: traffic.PacketResult{Sent: 100, Received: received, Elapsed: took}, exits: 50, own: 10, known: known, counted: counted}
	}
	f.add(round(100, time.Second/2, 10, true))
	f.add(round(97, time.Second, 10, true))
	f.add(round(100, time.Second, 20, false))
	if !slices.Equal(f.perSecond, spread{200, 100}) || !slices.Equal(f.interruptsEach, spread{0.1, 0.2}) || !slices.Equal(f.exitsEach, spread{0.5}) || !slices.Equal(f.ownEach, spread{0.1}) || f.lossy != 1 || f.lost != 3 {
		t.Errorf("%+v", f)
	}
	rows := make([]coalesceRow, len(coalesceArms))
	rows[0] = coalesceRow{packets: 100, interrupts: 100, perInterrupt: spread{1}, interruptsEach: spread{1}, timersEach: spread{0}, latency: spread{1}, flood: flood{lossy: 1, lost: 3}}
	e := coalesceExperiment(rows, rounds{n: 1}, nil)
	if why := e.Missing["none: the flood (1 of 1 rounds)"]; why != "3 datagrams were lost" || e.Rows[0]["throughput_ratio"] != nil || e.Rows[0]["interrupts_per_packet"] != 1.0 {
		t.Errorf("%v %v", e.Missing, e.Rows)
	}
}

// TestFind: without a name only what is short and needs nothing runs.
func TestFind(t *testing.T) {
	names := func(es []Experiment) (all []string) {
		for _, e := range es {
			all = append(all, e.Name)
		}
		return all
	}
	found, err := Find(nil)
	if got := strings.Join(names(found), " "); err != nil || got != "boot paths posted storm coalesce barrier notify" {
		t.Errorf("%s, %v", got, err)
	}
	found, err = Find([]string{"vfio", "timer"})
	if got := strings.Join(names(found), " "); err != nil || got != "vfio timer" {
		t.Errorf("%s, %v", got, err)
	}
	if _, err := Find([]string{"telepathy"}); err == nil || !strings.Contains(err.Error(), `"telepathy"; there is: boot, paths`) {
		t.Errorf("%v", err)
	}
}

// TestBoots: exits of a part of a boot are none of a boot; of several boots there is the median, and one that a signal stopped is not among them.
func TestBoots(t *testing.T) {
	boot := func(b *boots, end vmm.End, stopped bool, exits map[string]int64) {
		b.add(&report.Document{VM: &vmm.Account{VCPUs: 2, ExitsByReason: exits}}, &vmm.Result{End: end, Reason: "interrupt"}, stopped)
	}
	for end, want := range map[vmm.End]string{vmm.PoweredOff: "a boot with 2 vCPUs cost 4 exits: 75 % npf, 25 % io", vmm.Stopped: "not a whole boot: after 4 exits interrupt"} {
		b := &boots{counts: map[string]spread{}}
		boot(b, end, true, map[string]int64{"npf": 3, "io": 1})
		if got := bootFinding(b); got != want {
			t.Errorf("%s: %q", end, got)
		}
	}
	b := &boots{counts: map[string]spread{}}
	for _, n := range []int64{20, 10, 40} {
		boot(b, vmm.PoweredOff, false, map[string]int64{"npf": n, "io": 20})
	}
	b.counts["rare"] = spread{900} // of one boot only: the median of the three is none
	boot(b, vmm.Stopped, true, map[string]int64{"npf": 1})
	if got := bootFinding(b); b.whole != 3 || b.broken == nil || got != "a boot with 2 vCPUs cost 40 exits (30 to 60): 50 % io, 50 % npf" {
		t.Errorf("%d, %v, %q", b.whole, b.broken, got)
	}
	e := report.Experiment{}
	b.table(&e)
	if want := [][]string{{"io", "20", "20", "20"}, {"npf", "20", "10", "40"}, {"rare", "0", "0", "900"}, {"all", "40", "30", "60"}}; !reflect.DeepEqual(e.Table.Rows, want) {
		t.Errorf("%q", e.Table.Rows)
	}
	if row := e.Rows[1]; row["reason"] != "npf" || row["exits"] != 20.0 || row["exits_low"] != 10.0 || row["exits_high"] != 40.0 {
		t.Errorf("%v", row)
	}
	// A crash is what the report is of.
	boot(b, vmm.Crashed, false, map[string]int64{"npf": 7})
	if got := bootFinding(b); got != "not a whole boot: after 7 exits interrupt" {
		t.Errorf("%q", got)
	}
}

// TestSet: what ran is in the report, and so is why the rest did not.
func TestSet(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	run := func(name string, err error) Experiment {
		return Experiment{Name: name, Run: func(context.Context, vmm.Config) (*report.Document, *vmm.Result, error) {
			if name == "last" {
				cancel(errors.New("interrupted"))
			}
			if err != nil {
				return nil, nil, err
			}
			return &report.Document{Experiments: []report.Experiment{{Name: name, Finding: "found"}}}, nil, nil
		}}
	}
	var warned []string
	cfg := vmm.Config{Warn: func(format string, args ...any) { warned = append(warned, fmt.Sprintf(format, args...)) }}
	doc, res, err := Set{run("first", nil), run("broken", errors.New("no hardware")), run("last", nil), run("never", nil)}.Run(ctx, cfg)
	if err != nil || res != nil {
		t.Fatal(res, err)
	}
	var got []string
	for _, e := range doc.Experiments {
		got = append(got, e.Name+": "+e.Finding+" "+e.Missing[e.Name])
	}
	if want := []string{"first: found ", "broken: not measured no hardware", "last: found ", "never: not measured interrupted"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if len(warned) != 2 || warned[0] != "(2 of 4) measure broken: no hardware" {
		t.Errorf("%q", warned)
	}
	// One that a signal ends before it has measured anything has a report all the same.
	if doc, _, err := (Set{run("late", errors.New("none could be measured: interrupted"))}).Run(ctx, cfg); err != nil || doc.Experiments[0].Missing["late"] != "none could be measured: interrupted" {
		t.Errorf("%v, %v", doc, err)
	}
	if _, _, err := (Set{run("a", errors.New("x"))}).Run(context.Background(), cfg); err == nil {
		t.Error("one that failed by itself has a report")
	}
	// A guest by a user's flags is described; what an experiment says itself stays.
	guest := &vmm.Result{Agent: &guestreport.Report{Kernel: "6.1"}}
	described := Experiment{Name: "x", Run: func(context.Context, vmm.Config) (*report.Document, *vmm.Result, error) {
		return &report.Document{Experiments: []report.Experiment{{Parameters: map[string]any{"pinned": "here"}}}}, guest, nil
	}}
	doc, _, err = Set{described}.Run(context.Background(), vmm.Config{IRQChip: "split", VCPUs: 3, Memory: 512 << 20})
	if got := fmt.Sprint(doc.Experiments[0].Parameters); err != nil || got != "map[guest_kernel:6.1 irqchip:split memory:512 MiB pinned:here vcpus:3]" {
		t.Errorf("%v, %v", err, got)
	}
	if _, err := Find([]string{"paths", "storm", "paths"}); err == nil || err.Error() != "paths is named twice" {
		t.Errorf("%v", err)
	}
	if _, _, err := (Set{run("a", errors.New("x")), run("b", errors.New("y"))}).Run(context.Background(), cfg); err == nil {
		t.Error("a set of which nothing ran has a report")
	}
}
