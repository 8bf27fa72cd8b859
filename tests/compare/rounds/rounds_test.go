package rounds

import (
	"errors"
	"slices"
	"testing"
)

func TestMedian(t *testing.T) {
	self := func(v float64) float64 { return v }
	for _, tt := range []struct {
		of   []float64
		want float64
	}{{[]float64{3}, 3}, {[]float64{9, 1, 5}, 5}, {[]float64{8, 1, 2, 4}, 3}} {
		if got := Median(tt.of, self); got != tt.want {
			t.Errorf("of %v: %v, want %v", tt.of, got, tt.want)
		}
	}
}

// Every arm runs once in every round, a seed stands for an order, and an error ends it.
func TestRun(t *testing.T) {
	order := func(seed uint64) (all []int) {
		seen := map[[2]int]int{}
		err := Rounds{4, seed}.Run(5, func(round, arm int) error {
			seen[[2]int{round, arm}]++
			all = append(all, arm)
			return nil
		})
		if err != nil || len(seen) != 20 || len(all) != 20 {
			t.Fatalf("%v: %d runs of %d kinds", err, len(all), len(seen))
		}
		return all
	}
	if !slices.Equal(order(7), order(7)) {
		t.Error("a seed gave two orders")
	}
	runs, bad := 0, errors.New("bad")
	if err := New(3).Run(2, func(int, int) error { runs++; return bad }); err != bad || runs != 1 {
		t.Errorf("%v after %d runs", err, runs)
	}
}
