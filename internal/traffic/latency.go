package traffic

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Latency sums up how long round trips took, by this side's clock, to three digits.
type Latency struct {
	Count                               uint64
	Min, Mean, P50, P90, P99, P999, Max time.Duration
}

// slowest is the longest that is told apart.
const slowest = 60 * time.Second

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, slowest.Nanoseconds(), 3)
}

func record(h *hdrhistogram.Histogram, d time.Duration) {
	h.RecordValue(min(max(d.Nanoseconds(), 1), slowest.Nanoseconds())) // in range: it cannot fail
}

func summary(h *hdrhistogram.Histogram) Latency {
	at := func(percentile float64) time.Duration { return time.Duration(h.ValueAtQuantile(percentile)) }
	return Latency{
		Count: uint64(h.TotalCount()), Min: time.Duration(h.Min()), Mean: time.Duration(h.Mean()), Max: time.Duration(h.Max()),
		P50: at(50), P90: at(90), P99: at(99), P999: at(99.9),
	}
}
