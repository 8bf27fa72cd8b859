package measure

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"doorbell/vmm"
)

// rounds runs the arms of an experiment several times, in an order of its own each time, so that what changes slowly on the host is nobody's.
type rounds struct {
	n    int
	seed uint64 // of the orders
}

// newRounds chooses a seed.
func newRounds(n int) rounds { return rounds{n, uint64(time.Now().UnixNano())} }

// run calls measure for each of arms arms in each round, until ctx ends.
func (r rounds) run(ctx context.Context, arms int, measure func(round, arm int)) {
	random := rand.New(rand.NewPCG(r.seed, 0))
	for round := range r.n {
		for _, arm := range random.Perm(arms) {
			if ctx.Err() != nil {
				return
			}
			measure(round, arm)
		}
	}
}

// each runs an experiment's arms in every round, and says which one is on. It returns what went wrong with each.
func (r rounds) each(ctx context.Context, cfg vmm.Config, experiment string, names []string, measure func(arm int) error) []error {
	failures := make([]error, len(names))
	done := 0
	r.run(ctx, len(names), func(_, i int) {
		done++
		cfg.Warn("measure %s: %d of %d: %s", experiment, done, r.n*len(names), names[i])
		failures[i] = errors.Join(failures[i], measure(i))
	})
	return failures
}

// absent is why an arm has no row: a round failed, or none ran before ctx ended; "" if it has one.
func absent(ctx context.Context, failure error, ran int) string {
	switch {
	case failure != nil:
		return strings.ReplaceAll(failure.Error(), "\n", "; ")
	case ran == 0:
		return fmt.Sprint(context.Cause(ctx))
	}
	return ""
}

// namesOf are what arms are called.
func namesOf[A any](arms []A, name func(A) string) []string {
	all := make([]string, len(arms))
	for i, a := range arms {
		all[i] = name(a)
	}
	return all
}

// parameters are what a report says of them.
func (r rounds) parameters() map[string]any {
	return map[string]any{"rounds": r.n, "seed": r.seed, "order": "random in each round"}
}

// spread is what the rounds gave of one figure.
type spread []float64

// median is the middle one, or the mean of the two in the middle; there is at least one.
func (s spread) median() float64 {
	sorted := slices.Sorted(slices.Values(s))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// bounds are the least and the most, between which the true median is with a probability of 1 - 2^(1-n) for n rounds.
func (s spread) bounds() (low, high float64) { return slices.Min(s), slices.Max(s) }

// into puts the figure into a report's row: the median by its name, and the bounds.
func (s spread) into(row map[string]any, name string) {
	if len(s) == 0 {
		row[name], row[name+"_low"], row[name+"_high"] = nil, nil, nil
		return
	}
	low, high := s.bounds()
	row[name], row[name+"_low"], row[name+"_high"] = s.median(), low, high
}
