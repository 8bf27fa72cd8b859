package measure

import (
	"context"
	"errors"
	"strings"
	"testing"

	"doorbell/internal/guestreport"
)

func TestMostly(t *testing.T) {
	for want, in := range map[string]map[string]int{
		"-": {}, "hard IRQ": {"hard IRQ": 5}, "softirq (90 %)": {"softirq": 9, "softirq in ksoftirqd": 1}, "a (50 %)": {"b": 1, "a": 1},
	} {
		if got := mostly(in); got != want {
			t.Errorf("%v: %q, want %q", in, got, want)
		}
	}
}

// What does not balance is no measurement.
func TestThreadedBalance(t *testing.T) {
	good := guestreport.IRQProbeKind{
		Kind: "work", Raised: threadedInterrupts, Served: threadedInterrupts, Bottoms: threadedInterrupts, BurstRaised: 32, BurstServed: 9, BurstBottoms: 4,
		TopContexts: map[string]int{"hard IRQ": threadedInterrupts}, BottomContexts: map[string]int{"kworker": threadedInterrupts - 1, "softirq": 1},
	}
	if err := balanced(&good); err != nil {
		t.Error(err)
	}
	for what, change := range map[string]func(*guestreport.IRQProbeKind){
		"raised too few":   func(k *guestreport.IRQProbeKind) { k.Raised-- },
		"served twice":     func(k *guestreport.IRQProbeKind) { k.Served++ },
		"no bottom half":   func(k *guestreport.IRQProbeKind) { k.Bottoms-- },
		"no context":       func(k *guestreport.IRQProbeKind) { k.TopContexts = nil },
		"contexts of none": func(k *guestreport.IRQProbeKind) { k.BottomContexts = map[string]int{"a": 0, "b": 0} },
		"less than none": func(k *guestreport.IRQProbeKind) {
			k.TopContexts = map[string]int{"a": 2 * threadedInterrupts, "b": -threadedInterrupts}
		},
		"burst never served":    func(k *guestreport.IRQProbeKind) { k.BurstServed, k.BurstBottoms = 0, 0 },
		"burst served too much": func(k *guestreport.IRQProbeKind) { k.BurstServed = 33 },
		"burst's bottom halves": func(k *guestreport.IRQProbeKind) { k.BurstBottoms = 10 },
	} {
		k := good
		change(&k)
		if err := balanced(&k); err == nil || !strings.Contains(err.Error(), "do not balance") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestThreadedReport: the ratios are to the plain kernel's time to a handler, and an arm without a kernel has its reason once.
func TestThreadedReport(t *testing.T) {
	run := threadedRun{figures: map[threadedKey]*threadedFigures{}, kernels: []string{"6.1", "6.1", "6.1", ""}}
	kind := guestreport.IRQProbeKind{
		Kind: "hard", Raised: threadedInterrupts, Served: threadedInterrupts, Bottoms: threadedInterrupts, BurstRaised: 10, BurstServed: 5, BurstBottoms: 1, TopContexts: map[string]int{"hard IRQ": 100}, BottomContexts: map[string]int{"hard IRQ": 100},
		Top: guestreport.IRQProbeTimes{P50: 200}, Bottom: guestreport.IRQProbeTimes{P50: 50, Max: 400},
	}
	run.add(threadedKey{0, "hard", false}, &kind)
	kind.Top.P50 = 600
	kind.TopContexts = map[string]int{"irq thread": 100}
	run.add(threadedKey{2, "hard", false}, &kind)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	e := run.report(ctx, rounds{n: 1}, []error{nil, nil, nil, errors.New("gcc is missing")}, true, 2)
	if len(e.Rows) != 2 || e.Rows[0]["top_ratio"] != 1.0 || e.Rows[1]["top_ratio"] != 3.0 || e.Rows[0]["bottom_max_ratio"] != 2.0 || e.Rows[0]["top_p50_ns"] != nil {
		t.Errorf("%+v", e.Rows)
	}
	if want := "where an interrupt's handler ran, cloud kernel: hard IRQ; cloud kernel, threadirqs: irq thread"; e.Finding != want {
		t.Errorf("%q", e.Finding)
	}
	if e.Missing["PREEMPT_RT"] != "gcc is missing" || !strings.Contains(e.Missing["cloud kernel, level pin"], "canceled") {
		t.Errorf("%v", e.Missing)
	}
	if e = run.report(context.Background(), rounds{n: 1}, make([]error, 4), false, 2); e.Rows[0]["top_p50_ns"] != 200.0 {
		t.Errorf("a host that is not emulated has times: %v", e.Rows[0])
	}
}
