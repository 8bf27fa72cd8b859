package main

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestShootdownSpec(t *testing.T) {
	if n, other, err := shootdownSpec("7,shared"); n != 7 || other != otherShares || err != nil {
		t.Errorf("%d, %q, %v", n, other, err)
	}
	for _, bad := range []string{"", "7", "0,alone", "-1,alone", "9999999,alone", "x,alone", "7,asleep", "7,"} {
		if _, _, err := shootdownSpec(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	if _, err := parseWorkload("shootdown=7,apart"); err != nil {
		t.Error(err)
	}
	if _, err := parseWorkload("shootdown=7," + otherItself); err == nil {
		t.Error("a guest can be told to spin for ever")
	}
}

// TestShootdown: pages are mapped and unmapped whatever the other CPU does, and nobody spins afterwards.
func TestShootdown(t *testing.T) {
	if cpus, err := onlineCPUs(); err != nil || len(cpus) < 2 {
		t.Skipf("it takes two CPUs: %v, %v", cpus, err)
	}
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, other := range []string{otherIdles, otherApart, otherShares} {
		ended := make(chan error)
		go func() { ended <- shootDown(100, other) }() // its thread stays on one CPU, and ends with it
		if err := <-ended; err != nil {
			t.Errorf("%s: %v", other, err)
		}
	}
	if status := shootdownMain("many,alone"); status != 1 {
		t.Errorf("status %d", status)
	}
}
