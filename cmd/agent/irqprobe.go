package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"doorbell/internal/guestreport"

	"golang.org/x/sys/unix"
)

const (
	irqprobeDevice = "/dev/irqprobe"
	maxProbes      = 100_000
	// probeSpinners are the programs that compete for the interrupts' CPU in the second half.
	probeSpinners = 2
	// probeWarmUp come before: an interrupt moves to another CPU, and its thread with it, when it fires next (kernel/irq/migration.c).
	probeWarmUp = 3
	// probeBurst is how many interrupts are caused in a row, and probeBursts how often.
	probeBurst, probeBursts = 32, 4
)

// What /dev/irqprobe and we agree on: images/irqprobe/irqprobe.h.
type (
	probeStage struct {
		At      uint64
		Runs    uint32
		Context uint32
		CPU     uint32
		Task    [20]byte
	}
	probeRun struct {
		Kind, Count    uint32
		Served, Raised uint32
		Start, End     uint64
		Top, Bottom    probeStage
	}
)

const (
	inHardirq = 1 << iota
	inSoftirq
	irqsOff
	realtimeTask
)

// probeRunRequest is _IOWR('d', 1, struct irqprobe_run): ioctl(2)'s numbers have the direction, the size, a letter and a number.
const probeRunRequest = 3<<30 | probeRunSize<<16 | 'd'<<8 | 1

// probeKinds are enum irqprobe_kind.
var probeKinds = []string{"hard", "softirq", "tasklet", "work", "thread"}

// parseIRQProbe reads COUNT, the interrupts of each kind.
func parseIRQProbe(value string) (workload, error) {
	count, err := strconv.Atoi(value)
	if err != nil || count < 1 || count > maxProbes {
		return workload{}, fmt.Errorf("not a number of interrupts up to %d", maxProbes)
	}
	return workload{func(result *guestreport.WorkloadResult) (err error) {
		result.IRQProbe, err = probeInterrupts(count)
		return err
	}}, nil
}

// probeInterrupts causes count interrupts of each kind, one after the other, and some in bursts: on a CPU that has nothing to do, then on one that has. The
// interrupts go to the last CPU, and we are on the first.
func probeInterrupts(count int) (*guestreport.IRQProbeResult, error) {
	f, err := os.OpenFile(irqprobeDevice, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("irqprobe: %w: the machine needs --device irqprobe and the kernel the module, as -k debian:irqprobe has it", err)
	}
	defer f.Close()
	cpus, err := onlineCPUs()
	if err != nil {
		return nil, err
	}
	r := &guestreport.IRQProbeResult{CPU: cpus[len(cpus)-1], Waits: cpus[0]}
	if err := steer("irqprobe", r.CPU); err != nil {
		return nil, err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread() // after moveAnywhere: other goroutines will have the thread
	if err := pinThread(r.Waits); err != nil {
		return nil, fmt.Errorf("irqprobe: %w", err)
	}
	defer moveAnywhere(cpus)
	loads := []int{0, probeSpinners}
	for _, i := range rand.Perm(len(loads)) { // what changes slowly is nobody's
		busy := loads[i]
		stop, err := compete(r.CPU, busy)
		if err != nil {
			return nil, err
		}
		for _, kind := range rand.Perm(len(probeKinds)) {
			k, err := probeKind(int(f.Fd()), uint32(kind), count)
			if err != nil {
				stop()
				return nil, err
			}
			k.Busy = busy
			r.Kinds = append(r.Kinds, *k)
		}
		stop()
	}
	return r, nil
}

// probeKind is one kind under the present load.
func probeKind(fd int, kind uint32, count int) (*guestreport.IRQProbeKind, error) {
	k := &guestreport.IRQProbeKind{Kind: probeKinds[kind], TopContexts: map[string]int{}, BottomContexts: map[string]int{}}
	cause := func(interrupts uint32) (probeRun, error) {
		run := probeRun{Kind: kind, Count: interrupts}
		if err := run.do(fd); err != nil {
			return run, fmt.Errorf("irqprobe %s: cause %d interrupts: %w", k.Kind, interrupts, err)
		}
		return run, nil
	}
	for range probeWarmUp {
		if _, err := cause(1); err != nil {
			return nil, err
		}
	}
	var top, bottom []int64
	for range count {
		run, err := cause(1)
		if err != nil {
			return nil, err
		}
		k.Raised, k.Served, k.Bottoms = k.Raised+uint64(run.Raised), k.Served+uint64(run.Served), k.Bottoms+uint64(run.Bottom.Runs)
		k.TopContexts[run.Top.where()]++
		k.BottomContexts[run.Bottom.where()]++
		top = append(top, int64(run.Top.At-run.Start))
		bottom = append(bottom, int64(run.Bottom.At-run.Top.At))
	}
	k.Top, k.Bottom = timesOf(top), timesOf(bottom)
	for range probeBursts {
		run, err := cause(probeBurst)
		if err != nil {
			return nil, err
		}
		k.BurstRaised, k.BurstServed, k.BurstBottoms = k.BurstRaised+uint64(run.Raised), k.BurstServed+uint64(run.Served), k.BurstBottoms+uint64(run.Bottom.Runs)
	}
	return k, nil
}

// timesOf is the distribution of times, which it sorts.
func timesOf(all []int64) guestreport.IRQProbeTimes {
	slices.Sort(all)
	n := len(all)
	return guestreport.IRQProbeTimes{P50: all[n/2], P99: all[n*99/100], Max: all[n-1]}
}

// taskNumbers are those of an interrupt, a CPU or a worker in a task's name.
var taskNumbers = regexp.MustCompile(`[/:-]?[0-9]+[a-zA-Z:]*`)

// where names what a half ran in. A hard IRQ borrows whatever task was there, which says nothing.
func (s *probeStage) where() string {
	name, _, _ := bytes.Cut(s.Task[:], []byte{0})
	task := taskName(string(name))
	switch {
	case s.Context&inHardirq != 0:
		return "hard IRQ"
	case s.Context&inSoftirq != 0 && (task == "irq thread" || task == "ksoftirqd"):
		return "softirq in " + task
	case s.Context&inSoftirq != 0:
		return "softirq"
	}
	return task
}

// taskName is a kernel thread's kind.
func taskName(comm string) string {
	switch {
	case strings.HasPrefix(comm, "irq/"):
		return "irq thread"
	case strings.HasPrefix(comm, "kworker/"):
		return "kworker"
	}
	return taskNumbers.ReplaceAllString(comm, "")
}

// steer has the interrupts whose names begin with prefix delivered to a CPU. A handler that is threaded has its thread there as well.
func steer(prefix string, cpu int) error {
	dirs, err := filepath.Glob("/proc/irq/*/" + prefix + "*")
	if err != nil {
		return err
	}
	if len(dirs) == 0 {
		return fmt.Errorf("no interrupt of %s: its driver has none", prefix)
	}
	for _, d := range dirs {
		path := filepath.Join(filepath.Dir(d), "smp_affinity_list")
		if err := os.WriteFile(path, []byte(strconv.Itoa(cpu)), 0); err != nil {
			return fmt.Errorf("affinity of %s: %w", filepath.Base(d), err)
		}
	}
	return nil
}

// moveAnywhere lets this thread run on all of these CPUs again.
func moveAnywhere(cpus []int) {
	var set unix.CPUSet
	for _, cpu := range cpus {
		set.Set(cpu)
	}
	_ = unix.SchedSetaffinity(0, &set) // it was there before
}

// compete starts threads that never sleep on a CPU, and returns what stops them.
func compete(cpu, threads int) (stop func(), err error) {
	runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), threads+2))
	var done atomic.Bool
	var group sync.WaitGroup
	placed := make(chan error, threads)
	for range threads {
		group.Go(func() {
			runtime.LockOSThread() // not unlocked: the thread ends with its affinity
			err := pinThread(cpu)
			placed <- err
			for err == nil && !done.Load() {
			}
		})
	}
	stop = func() { done.Store(true); group.Wait() }
	var errs []error
	for range threads {
		errs = append(errs, <-placed)
	}
	if err := errors.Join(errs...); err != nil {
		stop()
		return nil, err
	}
	return stop, nil
}
