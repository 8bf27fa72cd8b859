package measure

import (
	"fmt"
	"runtime"
	"time"

	"doorbell/internal/report"
	"doorbell/internal/threads"

	"golang.org/x/sys/unix"
)

// processors are where an experiment puts its threads: the vCPU alone on one, everything else of this process on another, so that nothing of ours
// interrupts the guest. On a host with one processor they are the same, and the guest is interrupted whenever the injector runs.
type processors struct {
	target, injector int
	third            int         // of a second vCPU; -1: there is none
	before           unix.CPUSet // what this process was allowed
	scheduler        int         // GOMAXPROCS as it was
}

// spareProcessors is how many of Go's scheduler's processors there are beyond the host's: a vCPU's thread needs one when it comes out of the guest, and
// those of our other threads, which wait for the injector's turn on their processor to end, are taken.
const spareProcessors = 6

// takeProcessors moves all threads of this process to the injector's processor; give undoes it.
func takeProcessors() (*processors, error) {
	p := &processors{}
	if err := unix.SchedGetaffinity(0, &p.before); err != nil {
		return nil, fmt.Errorf("list the processors: %w", err)
	}
	cpus := threads.Members(&p.before)
	p.injector, p.target, p.third = cpus[0], cpus[len(cpus)-1], -1 // a process has one at least
	if len(cpus) > 2 {
		p.third = cpus[1]
	}
	var one unix.CPUSet
	one.Set(p.injector)
	p.scheduler = runtime.GOMAXPROCS(runtime.NumCPU() + spareProcessors)
	return p, threads.RunOn(&one)
}

// placed says in an experiment where its threads were.
func (p *processors) placed(e report.Experiment) report.Experiment {
	if e.Parameters == nil {
		e.Parameters = map[string]any{}
	}
	e.Parameters["pinned"] = fmt.Sprintf("vCPU to processor %d, all else to %d", p.target, p.injector)
	return e
}

// shared says that there is one processor for both.
func (p *processors) shared() bool { return p.target == p.injector }

// place puts a vCPU's thread on its processor.
func (p *processors) place(tid int) error { return placeOn(tid, p.target) }

func placeOn(tid, cpu int) error {
	var one unix.CPUSet
	one.Set(cpu)
	if err := unix.SchedSetaffinity(tid, &one); err != nil {
		return fmt.Errorf("put thread %d on processor %d: %w", tid, cpu, err)
	}
	return nil
}

// give lets the threads run where they could before.
func (p *processors) give() error {
	runtime.GOMAXPROCS(p.scheduler)
	return threads.RunOn(&p.before)
}

// await waits until done says so. Where the guest has a processor of its own this one is kept busy, so that the wait costs no wake-up; otherwise it
// sleeps, or the guest could not run.
func (p *processors) await(done func() bool, limit time.Duration) bool {
	for start := time.Now(); !done(); {
		if time.Since(start) > limit {
			return false
		}
		p.pause()
	}
	return true
}

// pause lets some time go by.
func (p *processors) pause() {
	if p.shared() {
		time.Sleep(50 * time.Microsecond)
	}
}

// linger lets that much time go by.
func (p *processors) linger(d time.Duration) {
	for start := time.Now(); time.Since(start) < d; {
		p.pause()
	}
}
