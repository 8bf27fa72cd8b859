package measure

import (
	"fmt"
	"sync/atomic"
	"time"

	"doorbell/internal/report"
	"doorbell/vcpu"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// latencies are a way's times in ns, of all rounds.
type latencies struct {
	// delivery is from the moment at which the sending thread makes its system call to the handler's first instruction, as this process sees it.
	delivery *hdrhistogram.Histogram
	// sending is from the moment at which the interrupt was due to that system call: the sender's own wait, for its scheduler and the host's.
	sending *hdrhistogram.Histogram
	// turning is how long the vCPU's thread was in doorbell: from KVM_RUN's return to its next entry, or from the system call that woke it.
	turning *hdrhistogram.Histogram
}

func newLatencies() *latencies {
	one := func() *hdrhistogram.Histogram { return hdrhistogram.New(1, interruptLimit.Nanoseconds(), 3) }
	return &latencies{one(), one(), one()}
}

// add takes another's times.
func (l *latencies) add(o *latencies) {
	l.delivery.Merge(o.delivery)
	l.sending.Merge(o.sending)
	l.turning.Merge(o.turning)
}

// record keeps a time, which is within the histogram's range: at least 1 ns, and nothing waits longer than interruptLimit.
func record(h *hdrhistogram.Histogram, d time.Duration) { _ = h.RecordValue(max(d.Nanoseconds(), 1)) }

// turns is a vCPU's controller that also times how long its thread is out of the guest. It is used on that thread only, but for wrote and on.
type turns struct {
	vcpu.Controller
	to    *hdrhistogram.Histogram
	on    atomic.Bool  // times are kept
	wrote atomic.Int64 // when the last interrupt was sent, since base
	base  time.Time
	left  time.Duration // when KVM_RUN returned, since base
	out   bool          // it has returned
	slept bool          // and the thread has slept since
}

// Left implements vcpu.Controller.
func (t *turns) Left(c *vcpu.CPU) {
	t.left, t.out = time.Since(t.base), true
	t.Controller.Left(c)
}

// Enter implements vcpu.Controller.
func (t *turns) Enter(c *vcpu.CPU) (bool, error) {
	run, err := t.Controller.Enter(c)
	if !run {
		t.slept = true
		return run, err
	}
	if t.out && t.on.Load() {
		since := t.left
		if t.slept {
			since = max(since, time.Duration(t.wrote.Load()))
		}
		record(t.to, time.Since(t.base)-since)
	}
	t.out, t.slept = false, false
	return run, err
}

// The percentiles of a row, by the ends of their names in JSON.
var rowPercentiles = []struct {
	name string
	at   float64
}{{"p50", 50}, {"p90", 90}, {"p99", 99}, {"p99_9", 99.9}, {"max", 100}}

// into puts the times into a report's row, or nulls with the reason why there are none.
func (l *latencies) into(row map[string]any, noTimes string) {
	missing := map[string]string{}
	put := func(name string, h *hdrhistogram.Histogram, why string) {
		for _, p := range rowPercentiles {
			key := fmt.Sprintf("%s_%s_ns", name, p.name)
			if row[key] = nil; why != "" {
				missing[key] = why
			} else {
				row[key] = h.ValueAtPercentile(p.at)
			}
		}
	}
	put("latency", l.delivery, noTimes)
	put("sender_wait", l.sending, noTimes)
	why := noTimes
	if why == "" && l.turning.TotalCount() == 0 {
		why = "no exit to doorbell was timed: the local APIC is KVM's"
	}
	put("vcpu_thread_wait", l.turning, why)
	if row["latency_histogram_ns"] = nil; noTimes != "" {
		missing["latency_histogram_ns"] = noTimes
	} else {
		row["latency_histogram_ns"] = distribution(l.delivery)
	}
	if len(missing) > 0 {
		row["not_measured"] = missing
	}
}

// brackets are a histogram's percentiles, steps of them for each half of what remains up to the longest.
func brackets(h *hdrhistogram.Histogram) []hdrhistogram.Bracket {
	const steps = 5
	return h.CumulativeDistributionWithTicks(steps)
}

// distribution is the histogram for machines: that percentile, which is so many interrupts, took at most that long.
func distribution(h *hdrhistogram.Histogram) (all []map[string]any) {
	for _, b := range brackets(h) {
		all = append(all, map[string]any{"percentile": b.Quantile, "interrupts": b.Count, "at_most_ns": b.ValueAt})
	}
	return all
}

// latencyColumns are what a person sees of the times, in microseconds.
var latencyColumns = []string{"latency p50, µs", "p99", "max", "sender's wait p50", "p99", "vCPU thread's wait p50", "p99"}

func (l *latencies) cells() (cells []string) {
	for _, c := range []struct {
		h *hdrhistogram.Histogram
		p []float64
	}{{l.delivery, []float64{50, 99, 100}}, {l.sending, []float64{50, 99}}, {l.turning, []float64{50, 99}}} {
		for _, p := range c.p {
			if c.h.TotalCount() == 0 {
				cells = append(cells, "-")
			} else {
				cells = append(cells, fixed(float64(c.h.ValueAtPercentile(p))/1000, 2))
			}
		}
	}
	return cells
}

// line is the histogram as a line of a plot.
func (l *latencies) line(label string) report.Line {
	x := report.Line{Label: label}
	for _, b := range brackets(l.delivery) {
		x.Points = append(x.Points, report.Point{X: b.Quantile, Y: float64(b.ValueAt)})
	}
	return x
}
