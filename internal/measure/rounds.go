package measure

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"doorbell/internal/report"
	"doorbell/vmm"
)

// rounds runs the arms of an experiment several times, in an order of its own each time, so that what changes slowly on the host is nobody's.
type rounds struct {
	n    int
	seed uint64 // of the orders
}

// shortRounds are those of an experiment that runs with the other short ones, which together are to be done while somebody waits.
const shortRounds = 2

// MaxRounds is the most that a user can ask for: a slip of the finger should not take a week.
const MaxRounds = 1000

// RoundOptions are a user's wishes for the rounds. The zero value has none.
type RoundOptions struct {
	Rounds int     // how often each arm runs; 0 is as often as the experiment has it run by itself
	Seed   *uint64 // of the orders; nil is one that has not been before
}

type roundOptionsKey struct{}

// WithRoundOptions has every experiment that runs in the context follow them.
func WithRoundOptions(ctx context.Context, o RoundOptions) context.Context {
	return context.WithValue(ctx, roundOptionsKey{}, o)
}

func roundOptionsOf(ctx context.Context) RoundOptions {
	o, _ := ctx.Value(roundOptionsKey{}).(RoundOptions)
	return o
}

// oneSeed chooses the seed for all experiments that run in the context, where nobody has: one number repeats a run of several.
func oneSeed(ctx context.Context) context.Context {
	o := roundOptionsOf(ctx)
	if o.Seed == nil {
		seed := newSeed()
		o.Seed = &seed
	}
	return WithRoundOptions(ctx, o)
}

// newSeed has 32 bits: quickly typed, and whole in a JSON number, of which most readers make a float64.
func newSeed() uint64 { return uint64(rand.Uint32()) }

type shortKey struct{}

// short marks that an experiment runs with the other short ones.
func short(ctx context.Context) context.Context { return context.WithValue(ctx, shortKey{}, true) }

func isShort(ctx context.Context) bool { return ctx.Value(shortKey{}) != nil }

// roundsIn is n, or as many as an experiment has among the short ones.
func roundsIn(ctx context.Context, n int) int {
	if isShort(ctx) {
		return min(n, shortRounds)
	}
	return n
}

// newRounds are n rounds with a new seed, or what the user wishes.
func newRounds(ctx context.Context, n int) rounds {
	o := roundOptionsOf(oneSeed(ctx))
	if o.Rounds > 0 {
		n = o.Rounds
	}
	return rounds{n, *o.Seed}
}

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

// each runs an experiment's arms in every round, and says which one is on and how long the rest will take, by what those before took. It returns what went wrong with each.
func (r rounds) each(ctx context.Context, cfg vmm.Config, experiment string, names []string, measure func(arm int) error) []error {
	failures := make([]error, len(names))
	done, all, start := 0, r.n*len(names), time.Now()
	r.run(ctx, len(names), func(_, i int) {
		left := ""
		if done > 0 {
			left = timeLeft(time.Since(start) / time.Duration(done) * time.Duration(all-done))
		}
		done++
		cfg.Warn("measure %s: %d of %d: %s%s", experiment, done, all, names[i], left)
		// What fails in every round for one reason has it once.
		if err := measure(i); err != nil && (failures[i] == nil || !strings.Contains(failures[i].Error(), err.Error())) {
			failures[i] = errors.Join(failures[i], err)
		}
	})
	return failures
}

// timeLeft is for people: nothing if there is next to none.
func timeLeft(d time.Duration) string {
	if d < time.Second {
		return ""
	}
	return fmt.Sprintf(" (about %.0f s left)", d.Seconds())
}

// missed says that an arm has no row, and the experiment why: its own failure, or the run's before it had one. An arm of which only some rounds failed has a
// row of the others.
func missed(e *report.Experiment, arm string, failure, run error, ran, rounds int) bool {
	return missedIn(e.Missing, arm, failure, run, ran, rounds)
}

// missedIn is missed for an experiment that is not written yet.
func missedIn(missing map[string]string, arm string, failure, run error, ran, rounds int) bool {
	if failure == nil && ran < rounds {
		failure = errors.Join(run, errors.New("it did not run"))
	}
	if failure != nil {
		if ran > 0 {
			arm = fmt.Sprintf("%s (%d of %d rounds)", arm, rounds-ran, rounds)
		}
		missing[arm] = strings.ReplaceAll(failure.Error(), "\n", "; ")
	}
	return ran == 0
}

// together is several errors in one line, nil if there is none.
func together(errs ...error) error {
	errs = slices.DeleteFunc(slices.Clone(errs), func(err error) bool { return err == nil })
	if len(errs) == 0 {
		return nil
	}
	return &severalErrors{errs}
}

type severalErrors struct{ errs []error }

func (e *severalErrors) Error() string {
	return strings.ReplaceAll(errors.Join(e.errs...).Error(), "\n", "; ")
}

func (e *severalErrors) Unwrap() []error { return e.errs }

// reasons is in one line why arms are missing, each reason once.
func reasons(missing map[string]string) string {
	var all []string
	for _, arm := range slices.Sorted(maps.Keys(missing)) {
		if why := missing[arm]; !slices.Contains(all, why) {
			all = append(all, why)
		}
	}
	return strings.Join(all, "; ")
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
	return map[string]any{"rounds": r.n, "seed": r.seed, "order": "random in each round", "confidence_of_least_to_most": confidenceText(r.n)}
}

// confidenceText is confidence for people: many rounds make it nearly sure, never certain.
func confidenceText(n int) string {
	percent := 100 * confidence(n)
	if percent > 99 {
		return "more than 99 %"
	}
	return fmt.Sprintf("%.0f %%", percent)
}

// spread is what the rounds gave of one figure.
type spread []float64

// median is the middle one, or the mean of the two in the middle; there is at least one.
func (s spread) median() float64 {
	sorted := slices.Sorted(slices.Values(s))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// confidence is how sure it is that the true median lies between the least and the most of n rounds: all n are on one side of it with probability 2^(1-n).
func confidence(n int) float64 { return 1 - math.Pow(2, float64(1-n)) }

// bounds are the least and the most, which is an interval of that confidence for the true median.
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

// over is the figures as multiples of a unit.
func (s spread) over(unit float64) spread {
	r := make(spread, len(s))
	for i, v := range s {
		r[i] = v / unit
	}
	return r
}

// overMedian puts a figure in proportion to another arm's median: nothing, if there is none.
func (s spread) overMedian(of spread) spread {
	if len(of) == 0 || of.median() <= 0 {
		return nil
	}
	return s.over(of.median())
}
