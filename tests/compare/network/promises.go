package network

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"doorbell/tests/compare/rounds"
)

// doorbell's promises, beside QEMU with the same backend: at least so much of its throughput, and of exits and interrupts per packet no more. Counts
// are judged by their mean over all loads, and what two runs of the same differ by is allowed for: on an emulated host, whose timer interrupts
// and idle vCPUs are in the counts too, that is much more.
const (
	tapThroughput  = 1.0
	userThroughput = 2.0
	noise          = 1.05
	emulatedNoise  = 1.25
)

// ratio is a figure of a doorbell's arm to that of its baseline, for one load.
func (r results) ratio(a *arm, l int, of func(sample) float64) float64 {
	return rounds.Median(r[a][l], of) / rounds.Median(r[r.baseline(a)][l], of)
}

// mean is the geometric mean of a figure's ratios over all loads.
func (r results) mean(a *arm, of func(sample) float64) float64 {
	sum := 0.0
	for l := range loads {
		sum += math.Log(r.ratio(a, l, of))
	}
	return math.Exp(sum / float64(len(loads)))
}

// counts are the figures that hold on an emulated host, too.
var counts = []struct {
	name string
	of   func(sample) float64
}{{"exits per packet", sample.exitsPerPacket}, {"interrupts per packet", sample.interruptsPerPacket}}

// broken are the promises that were not kept, each in a few words. Throughput is not judged where times are not real.
func (r results) broken(emulated bool) (all []string) {
	most := noise
	if emulated {
		most = emulatedNoise
	}
	for _, a := range slices.SortedFunc(r.arms(), func(a, b *arm) int { return strings.Compare(a.name, b.name) }) {
		if a.qemu || r.baseline(a) == nil {
			continue
		}
		for _, c := range counts {
			if m := r.mean(a, c.of); m > most {
				all = append(all, fmt.Sprintf("%s: %.2f of QEMU's %s over all loads, more than %.2f", a.name, m, c.name, most))
			}
		}
		least := tapThroughput
		if a.backend == user {
			least = userThroughput
		}
		for l := range loads {
			if m := r.ratio(a, l, func(s sample) float64 { return s.rate }); !emulated && loads[l].throughput && m < least {
				all = append(all, fmt.Sprintf("%s, %s: %.2f of QEMU's throughput, less than %.1f", a.name, loads[l].name, m, least))
			}
		}
	}
	return all
}
