package threads

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestRunOn(t *testing.T) {
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		t.Fatal(err)
	}
	all := Members(&before)
	last := all[len(all)-1]
	one, err := Set([]int{last})
	if err != nil {
		t.Fatal(err)
	}
	if err := RunOn(&one); err != nil {
		t.Fatal(err)
	}
	// Whichever thread asks, and one that it starts.
	for range 10 {
		done := make(chan unix.CPUSet)
		go func() {
			var now unix.CPUSet
			unix.SchedGetaffinity(0, &now)
			done <- now
		}()
		if now := <-done; now.Count() != 1 || !now.IsSet(last) {
			t.Errorf("a thread may run on %d CPUs", now.Count())
		}
	}
	if err := RunOn(&before); err != nil {
		t.Fatal(err)
	}
	var now unix.CPUSet
	if err := unix.SchedGetaffinity(0, &now); err != nil || now != before {
		t.Errorf("%v, %v", now, err)
	}
	if err := RunOn(&unix.CPUSet{}); err == nil {
		t.Error("threads without a processor")
	}
}

func TestSet(t *testing.T) {
	set, err := Set([]int{3, 0, 900})
	if got := Members(&set); err != nil || !slices.Equal(got, []int{0, 3, 900}) {
		t.Errorf("%v, %v", got, err)
	}
	for _, cpu := range []int{-1, -1000, 1 << 20} {
		if _, err := Set([]int{cpu}); err == nil || !strings.HasSuffix(err.Error(), "does not exist") {
			t.Errorf("CPU %d: error %v", cpu, err)
		}
	}
}
