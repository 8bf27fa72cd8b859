package guest

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// runOn has all threads of this process, and those that they start, run on these CPUs only. Tying down the one that reads is not enough where wake-ups are
// counted: the Go runtime's others are woken by it, from the CPUs that they happen to be on.
func runOn(cpus []int) error {
	var set unix.CPUSet
	for _, cpu := range cpus {
		if cpu >= 0 { // CPUSet takes others for an index
			set.Set(cpu)
		}
		if cpu < 0 || !set.IsSet(cpu) {
			return fmt.Errorf("CPU %d does not exist", cpu)
		}
	}
	moved := map[int]bool{}
	for more := true; more; { // one that was not moved yet may have started another
		more = false
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("list the threads: %w", err)
		}
		for _, t := range threads {
			tid, err := strconv.Atoi(t.Name())
			if err != nil || moved[tid] {
				continue
			}
			moved[tid], more = true, true
			if err := unix.SchedSetaffinity(tid, &set); err != nil && err != unix.ESRCH {
				return fmt.Errorf("thread %d to CPUs %v: %w", tid, cpus, err)
			}
		}
	}
	return nil
}
