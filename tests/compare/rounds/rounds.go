// Package rounds repeats a measurement of several arms, in an order that no arm can profit from, and sums it up.
package rounds

import (
	"math/rand/v2"
	"slices"
)

// Rounds is how often, and from which seed the order comes.
type Rounds struct {
	Count int
	Seed  uint64
}

// New chooses a seed.
func New(count int) Rounds { return Rounds{count, rand.Uint64()} }

// Run calls run for each of the arms in each round, in random order, until it fails.
func (r Rounds) Run(arms int, run func(round, arm int) error) error {
	random := rand.New(rand.NewPCG(r.Seed, 0))
	for round := range r.Count {
		for _, arm := range random.Perm(arms) {
			if err := run(round, arm); err != nil {
				return err
			}
		}
	}
	return nil
}

// Median is that of what of says of each of all, which is not empty.
func Median[T any](all []T, of func(T) float64) float64 {
	v := make([]float64, len(all))
	for i, one := range all {
		v[i] = of(one)
	}
	slices.Sort(v)
	return (v[len(v)/2] + v[(len(v)-1)/2]) / 2
}
