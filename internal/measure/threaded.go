package measure

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"doorbell/images"
	"doorbell/internal/guestreport"
	"doorbell/internal/probe"
	"doorbell/internal/report"
	"doorbell/vmm"
)

const (
	threadedRounds = 2
	// threadedInterrupts are those of each kind and load in a round, one after the other.
	threadedInterrupts = 50
)

// A threadedArm is a kernel and how it is told to serve interrupts.
type threadedArm struct {
	name    string
	release images.Release
	cmdline string
}

// ThreadedGuests are the guests of the experiment `threaded`.
var ThreadedGuests = []images.Release{{IRQProbe: true}, {Realtime: true, IRQProbe: true}}

// threadedArms compare where an interrupt's halves run. threadirqs is Documentation/admin-guide/kernel-parameters.txt's.
var threadedArms = []threadedArm{
	{"cloud kernel", ThreadedGuests[0], ""},
	{"cloud kernel, level pin", ThreadedGuests[0], "irqprobe.intx=1"},
	{"cloud kernel, threadirqs", ThreadedGuests[0], "threadirqs"},
	{"PREEMPT_RT", ThreadedGuests[1], ""},
}

// threadedKey is a kind of bottom half under a load, in an arm.
type threadedKey struct {
	arm  int
	kind string
	busy bool
}

// threadedKinds is the order in which kinds are shown: from none to the most put off.
var threadedKinds = []string{"hard", "softirq", "tasklet", "work", "thread"}

// compare orders rows: by arm, idle before busy, by kind.
func (k threadedKey) compare(other threadedKey) int {
	number := func(k threadedKey) int {
		n := 2 * k.arm
		if k.busy {
			n++
		}
		return n*len(threadedKinds) + slices.Index(threadedKinds, k.kind)
	}
	return number(k) - number(other)
}

// threadedFigures are what the rounds gave of it.
type threadedFigures struct {
	raised, served, bottoms         uint64
	burstRaised, burstServed, burst uint64
	tops, bottomsIn                 map[string]int
	top, bottom, bottomMax          spread // ns of the guest's clock
}

// threadedRun collects the rounds.
type threadedRun struct {
	figures map[threadedKey]*threadedFigures
	order   []threadedKey // as they came first
	kernels []string      // of each arm
}

// Threaded is the experiment `threaded`: where and when the halves of an interrupt's work run in Linux, by the ways that a driver has to put the second
// half off. The driver is our module irqprobe; it has a device that interrupts when it is told to.
func Threaded(ctx context.Context, cfg vmm.Config) (*report.Document, *vmm.Result, error) {
	doc := &report.Document{Environment: probe.Host()}
	cfg.Net, cfg.IRQProbe = vmm.NetConfig{}, true
	t := threadedRun{figures: map[threadedKey]*threadedFigures{}, kernels: make([]string, len(threadedArms))}
	guests, absentGuests := map[images.Release]images.Guest{}, map[images.Release]error{}
	for _, r := range ThreadedGuests {
		g, err := images.GuestOf(ctx, r, os.Stderr)
		guests[r], absentGuests[r] = g, err
	}
	if err := ctx.Err(); err != nil {
		return nil, nil, context.Cause(ctx)
	}
	var res *vmm.Result
	order := newRounds(ctx, threadedRounds)
	failures := order.each(ctx, cfg, "threaded", namesOf(threadedArms, func(a threadedArm) string { return a.name }), func(i int) error {
		arm := threadedArms[i]
		if err := absentGuests[arm.release]; err != nil {
			return err
		}
		r, err := t.boot(ctx, cfg, i, guests[arm.release])
		if r != nil {
			res = r
		}
		return err
	})
	if res == nil {
		return nil, nil, fmt.Errorf("measure threaded: %w", cmp.Or(errors.Join(failures...), context.Cause(ctx)))
	}
	doc.Experiments = []report.Experiment{t.report(ctx, order, failures, doc.Environment.Emulated, cfg.VCPUs)}
	return doc, res, nil
}

// boot is one round of an arm.
func (t *threadedRun) boot(ctx context.Context, cfg vmm.Config, arm int, g images.Guest) (*vmm.Result, error) {
	cfg.Kernel, cfg.Initrd = g.Kernel, g.Initrd
	cfg.Cmdline = strings.TrimSpace(fmt.Sprintf("%s %s doorbell.workload=irqprobe=%d", cfg.Cmdline, threadedArms[arm].cmdline, threadedInterrupts))
	res, err := runLoaded(ctx, cfg, nil)
	if err != nil {
		return res, err
	}
	switch {
	case res.Agent == nil:
		return res, fmt.Errorf("the guest has not reported: %s", res.AgentMissing)
	case res.Agent.Workload.Error != "":
		return res, errors.New(res.Agent.Workload.Error)
	case res.Agent.Workload.IRQProbe == nil:
		return res, errors.New("the guest's report has nothing of irqprobe")
	}
	for _, k := range res.Agent.Workload.IRQProbe.Kinds {
		if err := balanced(&k); err != nil {
			return res, err
		}
	}
	t.kernels[arm] = res.Agent.Kernel
	for _, k := range res.Agent.Workload.IRQProbe.Kinds {
		t.add(threadedKey{arm, k.Kind, k.Busy > 0}, &k)
	}
	return res, nil
}

// balanced says whether every interrupt that the device raised was served, each by one run of its bottom half, and where each half ran is known; what comes in
// bursts may be served together, and not more often than it was raised.
func balanced(k *guestreport.IRQProbeKind) error {
	if k.Raised != threadedInterrupts || k.Served != k.Raised || k.Bottoms != k.Raised {
		return fmt.Errorf("%s: the figures do not balance: %d interrupts asked for, %d raised, %d served, %d bottom halves", k.Kind, threadedInterrupts, k.Raised, k.Served, k.Bottoms)
	}
	for half, contexts := range map[string]map[string]int{"handlers": k.TopContexts, "bottom halves": k.BottomContexts} {
		known := 0
		for _, n := range contexts {
			if n < 1 || n > threadedInterrupts { // the guest's word
				return fmt.Errorf("%s: the figures do not balance: %d of %d %s in one place", k.Kind, n, threadedInterrupts, half)
			}
			known += n
		}
		if known != threadedInterrupts {
			return fmt.Errorf("%s: the figures do not balance: of %d %s it is known where %d ran", k.Kind, threadedInterrupts, half, known)
		}
	}
	if k.BurstServed == 0 || k.BurstServed > k.BurstRaised || k.BurstBottoms > k.BurstServed {
		return fmt.Errorf("%s in bursts: the figures do not balance: %d raised, %d served, %d bottom halves", k.Kind, k.BurstRaised, k.BurstServed, k.BurstBottoms)
	}
	return nil
}

func (t *threadedRun) add(key threadedKey, k *guestreport.IRQProbeKind) {
	f := t.figures[key]
	if f == nil {
		f = &threadedFigures{tops: map[string]int{}, bottomsIn: map[string]int{}}
		t.figures[key], t.order = f, append(t.order, key)
	}
	f.raised, f.served, f.bottoms = f.raised+k.Raised, f.served+k.Served, f.bottoms+k.Bottoms
	f.burstRaised, f.burstServed, f.burst = f.burstRaised+k.BurstRaised, f.burstServed+k.BurstServed, f.burst+k.BurstBottoms
	for context, n := range k.TopContexts {
		f.tops[context] += n
	}
	for context, n := range k.BottomContexts {
		f.bottomsIn[context] += n
	}
	f.top, f.bottom, f.bottomMax = append(f.top, float64(k.Top.P50)), append(f.bottom, float64(k.Bottom.P50)), append(f.bottomMax, float64(k.Bottom.Max))
}

// mostly is the commonest context, and its share where there are several.
func mostly(contexts map[string]int) string {
	names := slices.SortedFunc(maps.Keys(contexts), func(a, b string) int {
		return cmp.Or(contexts[b]-contexts[a], strings.Compare(a, b))
	})
	all := 0
	for _, n := range contexts {
		all += n
	}
	switch len(names) {
	case 0:
		return "-"
	case 1:
		return names[0]
	}
	return fmt.Sprintf("%s (%d %%)", names[0], 100*contexts[names[0]]/all)
}

// report puts the rows together. Times are those of a guest's clock: shown as ratios to the handler's of the plain kernel on an idle processor, and by
// themselves where the host is not emulated.
func (t *threadedRun) report(ctx context.Context, order rounds, failures []error, emulated bool, vcpus int) report.Experiment {
	e := report.Experiment{Name: "threaded", Missing: map[string]string{}, Parameters: order.parameters(), Literature: literatureThreaded, Table: &report.Table{Columns: []string{
		"kernel, processor, bottom half", "handler ran in", "bottom half ran in", "handlers per interrupt in bursts", "bottom halves", "to the handler ÷", "on to the bottom half ÷", "at most ÷",
	}}}
	e.Parameters["interrupts_per_round"], e.Parameters["vcpus"] = threadedInterrupts, vcpus
	e.Parameters["ratio_to"] = "the time to the handler of: cloud kernel, idle, hard"
	base := 0.0
	if f := t.figures[threadedKey{0, "hard", false}]; f != nil {
		base = f.top.median()
	}
	later := plot("from handler to bottom half, in the plain kernel's time to a handler")
	slices.SortFunc(t.order, threadedKey.compare)
	for _, key := range t.order {
		f := t.figures[key]
		arm, load := threadedArms[key.arm], "idle"
		if key.busy {
			load = "busy"
		}
		name := fmt.Sprintf("%s, %s, %s", arm.name, load, key.kind)
		row := map[string]any{
			"arm": name, "kernel": t.kernels[key.arm], "cmdline": arm.cmdline, "load": load, "kind": key.kind,
			"raised": f.raised, "served": f.served, "bottom_halves": f.bottoms, "handler_contexts": f.tops, "bottom_contexts": f.bottomsIn,
			"burst_raised": f.burstRaised, "burst_handlers": f.burstServed, "burst_bottom_halves": f.burst,
			"burst_handlers_per_interrupt": nil, "burst_bottom_halves_per_interrupt": nil,
			"top_ratio": nil, "bottom_ratio": nil, "bottom_max_ratio": nil, "top_p50_ns": nil, "bottom_p50_ns": nil, "bottom_max_ns": nil,
		}
		cells := []string{name, mostly(f.tops), mostly(f.bottomsIn), "-", "-", "-", "-", "-"}
		if raised := float64(f.burstRaised); raised > 0 {
			handlers, bottoms := float64(f.burstServed)/raised, float64(f.burst)/raised
			row["burst_handlers_per_interrupt"], row["burst_bottom_halves_per_interrupt"] = handlers, bottoms
			cells[3], cells[4] = fixed(handlers, 2), fixed(bottoms, 2)
		}
		if base > 0 {
			for i, s := range []struct {
				name string
				spread
			}{{"top_ratio", f.top}, {"bottom_ratio", f.bottom}, {"bottom_max_ratio", f.bottomMax}} {
				scaled := s.over(base)
				scaled.into(row, s.name)
				cells[5+i] = fixed(scaled.median(), 2)
			}
			if key.busy && key.kind != "hard" {
				later.Bars = append(later.Bars, bar(name, f.bottom.over(base).median()))
			}
		}
		if emulated {
			row["not_measured"] = map[string]string{"top_p50_ns": emulatedClock, "bottom_p50_ns": emulatedClock, "bottom_max_ns": emulatedClock}
		} else {
			f.top.into(row, "top_p50_ns")
			f.bottom.into(row, "bottom_p50_ns")
			f.bottomMax.into(row, "bottom_max_ns")
		}
		e.Rows, e.Table.Rows = append(e.Rows, row), append(e.Table.Rows, cells)
	}
	for i, a := range threadedArms {
		ran := 0
		if f := t.figures[threadedKey{i, "hard", false}]; f != nil {
			ran = len(f.top)
		}
		missed(&e, a.name, failures[i], context.Cause(ctx), ran, order.n)
	}
	e.Plots, e.Finding = []*report.Plot{later}, t.finding()
	return e
}

// finding says in which context each kernel ran the handler.
func (t *threadedRun) finding() string {
	var parts []string
	for i, a := range threadedArms {
		if f := t.figures[threadedKey{i, "hard", false}]; f != nil {
			parts = append(parts, fmt.Sprintf("%s: %s", a.name, mostly(f.tops)))
		}
	}
	if len(parts) == 0 {
		return "nothing was measured"
	}
	return "where an interrupt's handler ran, " + strings.Join(parts, "; ")
}
