// Package threads says on which processors this process runs.
package threads

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// RunOn has all threads of this process, and those that they start, run on these processors only (sched_setaffinity(2)). Tying down the one that asks is not
// enough where wake-ups are counted: the Go runtime's others are woken by it, from the processors that they happen to be on.
func RunOn(set *unix.CPUSet) error {
	moved := map[int]bool{}
	for more := true; more; { // one that was not moved yet may have started another
		more = false
		all, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("list the threads: %w", err)
		}
		for _, t := range all {
			tid, err := strconv.Atoi(t.Name())
			if err != nil || moved[tid] {
				continue
			}
			moved[tid], more = true, true
			if err := unix.SchedSetaffinity(tid, set); err != nil && err != unix.ESRCH {
				return fmt.Errorf("thread %d to processors %v: %w", tid, Members(set), err)
			}
		}
	}
	return nil
}

// Members are a set's processors in order.
func Members(set *unix.CPUSet) (cpus []int) {
	for cpu := range len(set) * 64 {
		if set.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	return cpus
}

// Set is the reverse of Members. An error names a processor that no set can have.
func Set(cpus []int) (set unix.CPUSet, err error) {
	for _, cpu := range cpus {
		if cpu >= 0 { // CPUSet takes others for an index
			set.Set(cpu)
		}
		if cpu < 0 || !set.IsSet(cpu) {
			return unix.CPUSet{}, fmt.Errorf("CPU %d does not exist", cpu)
		}
	}
	return set, nil
}
