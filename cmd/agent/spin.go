package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// spinBatch is how many steps are taken between two looks at the clock.
const spinBatch = 1 << 14

// spinCommand is the argument that makes this program a spinner.
const spinCommand = "spin"

// spin keeps every CPU busy in user mode for d. It does so in another process,
// whose Go runtime can be told not to preempt threads with signals: a hundred
// a second for each CPU would show in the counts.
func spin(d time.Duration) (status int, err error) {
	self, err := os.Executable()
	if err != nil {
		return 0, fmt.Errorf("spin: %w", err)
	}
	return runProgram([]string{self, spinCommand, d.String()}, "GODEBUG=asyncpreemptoff=1")
}

// spinMain is that process. It returns its exit status.
func spinMain(duration string) int {
	d, err := time.ParseDuration(duration)
	if err == nil {
		err = spinAll(d)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "doorbell-agent:", oneLine(err.Error()))
		return 1
	}
	return 0
}

// spinAll runs one spinning thread on each CPU.
func spinAll(d time.Duration) error {
	cpus, err := onlineCPUs()
	if err != nil {
		return err
	}
	// One more, so that a thread of the runtime need not wait for a spinner.
	runtime.GOMAXPROCS(len(cpus) + 1)
	deadline := time.Now().Add(d)
	errs := make([]error, len(cpus))
	var group sync.WaitGroup
	for i, cpu := range cpus {
		group.Go(func() { errs[i] = spinOn(cpu, deadline) })
	}
	group.Wait()
	return errors.Join(errs...)
}

// onlineCPUs returns the numbers of the CPUs that this process may run on.
func onlineCPUs() ([]int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, fmt.Errorf("CPUs that this process may run on: %w", err)
	}
	var cpus []int
	for cpu := 0; len(cpus) < set.Count(); cpu++ {
		if set.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	return cpus, nil
}

// pinThread keeps this thread on one CPU.
func pinThread(cpu int) error {
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("put a thread on CPU %d: %w", cpu, err)
	}
	return nil
}

// spinOn keeps one CPU busy. Its thread ends with it, because the affinity is
// not for anybody else.
func spinOn(cpu int, deadline time.Time) error {
	runtime.LockOSThread()
	if err := pinThread(cpu); err != nil {
		return fmt.Errorf("spin: %w", err)
	}
	x := uint64(cpu) + 1
	for time.Now().Before(deadline) {
		for range spinBatch {
			x ^= x << 13
			x ^= x >> 7
			x ^= x << 17
		}
	}
	if x == 0 { // never so; keeps the loop
		return errors.New("spin: generator stuck")
	}
	return nil
}
