package guest

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestRunOn(t *testing.T) {
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		t.Fatal(err)
	}
	var all []int
	for cpu := range len(before) * 64 {
		if before.IsSet(cpu) {
			all = append(all, cpu)
		}
	}
	last := all[len(all)-1]
	if err := runOn([]int{last}); err != nil {
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
	if err := runOn(all); err != nil {
		t.Fatal(err)
	}
	var now unix.CPUSet
	if err := unix.SchedGetaffinity(0, &now); err != nil || now != before {
		t.Errorf("%v, %v", now, err)
	}
	for _, cpu := range []int{-1, -1000, 1 << 20} {
		if err := runOn([]int{cpu}); err == nil || !strings.HasSuffix(err.Error(), "does not exist") {
			t.Errorf("CPU %d: error %v", cpu, err)
		}
	}
}

// TestCountSwitches: a thread that sleeps is counted, and one that does not is not.
func TestCountSwitches(t *testing.T) {
	n, err := countSwitches(func() error {
		for range 5 {
			nap := unix.NsecToTimespec(1_000_000)
			if err := unix.Nanosleep(&nap, nil); err != nil && err != unix.EINTR {
				return err
			}
		}
		return nil
	})
	if err != nil || n < 5 {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := countSwitches(func() error { return unix.ENOSYS }); err != unix.ENOSYS {
		t.Errorf("error %v", err)
	}
}
