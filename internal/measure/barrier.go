package measure

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"doorbell/internal/kvm"
	"doorbell/internal/probe"
	"doorbell/internal/report"
	"doorbell/internal/threads"
	"doorbell/vmm"

	"golang.org/x/sys/unix"
)

const (
	barrierRounds = 3
	barrierTrials = 400_000
)

// A shared word has a cache line to itself, so that what is measured is the order of two accesses and not the wait for one line.
type sharedWord struct {
	v uint32
	_ [60]byte
}

// A ring's two sides, reduced to what matters (virtio 1.2, section 2.7.10): the producer publishes a buffer and checks whether the consumer wants to be
// told; the consumer asks to be told and checks whether there is a buffer. If neither sees the other, the notification is lost, and both sleep.
//
// publish is the store of one side and the check of the other side's word.
type publish func(mine, other *uint32) (seen uint32)

// publishPlain has nothing between the two. A processor may hold its store back while it loads (Intel SDM volume 3, 9.2.3.4).
//
//go:noinline
func publishPlain(mine, other *uint32) uint32 {
	*mine = 1
	return *other
}

// publishBarrier has a full barrier between the two: Go's atomic store is an XCHG, which no load passes.
//
//go:noinline
func publishBarrier(mine, other *uint32) uint32 {
	atomic.StoreUint32(mine, 1)
	return atomic.LoadUint32(other)
}

// A barrierArm is one way.
type barrierArm struct {
	name string
	publish
}

// barrierArms are the two.
var barrierArms = []barrierArm{{"no barrier", publishPlain}, {"full barrier", publishBarrier}}

// litmus is one trial after the other by two threads.
type litmus struct {
	words [2]sharedWord
	seen  [2]sharedWord
	turns [2]struct {
		atomic.Uint32
		_ [60]byte
	}
}

// side is one thread's part: n trials on a processor of its own. It starts each together with the other side, as near as two threads can.
func (l *litmus) side(me, cpu, n int, f publish, lost *uint64) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var was, one unix.CPUSet
	one.Set(cpu)
	if err := errors.Join(unix.SchedGetaffinity(0, &was), unix.SchedSetaffinity(0, &one)); err != nil {
		return fmt.Errorf("put a thread on processor %d: %w", cpu, err)
	}
	defer func() { _ = unix.SchedSetaffinity(0, &was) }()
	turn := uint32(0)
	meet := func() {
		turn++
		l.turns[me].Store(turn)
		for l.turns[1-me].Load() < turn {
		}
	}
	random := uint32(me + 1)
	for range n {
		meet()
		// A few turns of nothing, another number each time, bring the two together now and then.
		random = random*1664525 + 1013904223
		for range random >> 28 {
			runtime.KeepAlive(me)
		}
		l.seen[me].v = f(&l.words[me].v, &l.words[1-me].v)
		meet()
		if me == 0 {
			if l.seen[0].v == 0 && l.seen[1].v == 0 {
				*lost++
			}
			l.words[0].v, l.words[1].v = 0, 0
		}
	}
	return nil
}

// run makes n trials and says in how many the notification was lost.
func (l *litmus) run(cpus [2]int, n int, f publish) (lost uint64, err error) {
	var sides sync.WaitGroup
	var errs [2]error
	for me := range 2 {
		sides.Go(func() {
			if errs[me] = l.side(me, cpus[me], n, f, &lost); errs[me] != nil {
				l.turns[me].Store(^uint32(0)) // the other side does not wait
			}
		})
	}
	sides.Wait()
	return lost, errors.Join(errs[:]...)
}

// Barrier is the experiment `barrier`: how many notifications a ring loses without the full barrier between its publish and its check.
func Barrier(ctx context.Context, cfg vmm.Config) (*report.Document, *vmm.Result, error) {
	doc := &report.Document{Environment: probe.Host()}
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, nil, fmt.Errorf("list the processors: %w", err)
	}
	cpus := threads.Members(&set)
	if len(cpus) < 2 {
		return nil, nil, &kvm.NotSupportedError{Feature: "measure barrier", Reason: "one processor sees its own stores in order: two are needed"}
	}
	scheduler := runtime.GOMAXPROCS(runtime.NumCPU() + spareProcessors)
	defer runtime.GOMAXPROCS(scheduler)
	lost := make([]spread, len(barrierArms))
	order := newRounds(ctx, barrierRounds)
	names := namesOf(barrierArms, func(a barrierArm) string { return a.name })
	failures := order.each(ctx, cfg, "barrier", names, func(i int) error {
		n, err := new(litmus).run([2]int{cpus[0], cpus[1]}, barrierTrials, barrierArms[i].publish)
		if err == nil {
			lost[i] = append(lost[i], float64(n)*1e6/barrierTrials)
		}
		return err
	})
	e := report.Experiment{Name: "barrier", Missing: map[string]string{}, Parameters: order.parameters(), Table: &report.Table{
		Columns: []string{"between publish and check", "trials", "lost per million", "least", "most"},
	}}
	e.Parameters["trials_per_round"] = barrierTrials
	var parts []string
	picture := plot("lost notifications per million")
	e.Plots, e.Literature = []*report.Plot{picture}, literatureBarrier
	for i, a := range barrierArms {
		if missed(&e, a.name, failures[i], context.Cause(ctx), len(lost[i]), order.n) {
			continue
		}
		row := map[string]any{"arm": a.name, "trials": barrierTrials * len(lost[i])}
		lost[i].into(row, "lost_per_million")
		e.Rows = append(e.Rows, row)
		picture.Bars = append(picture.Bars, bar(a.name, lost[i].median()))
		low, high := lost[i].bounds()
		e.Table.Rows = append(e.Table.Rows, []string{a.name, fmt.Sprint(row["trials"]), fmt.Sprintf("%.1f", lost[i].median()), fmt.Sprintf("%.1f", low), fmt.Sprintf("%.1f", high)})
		parts = append(parts, fmt.Sprintf("%.1f with %s", lost[i].median(), a.name))
	}
	if len(e.Rows) == 0 {
		return nil, nil, fmt.Errorf("nothing was measured: %s", reasons(e.Missing))
	}
	e.Finding = "of a million notifications a ring lost " + parts[0]
	if len(parts) > 1 {
		e.Finding += ", " + parts[1]
	}
	doc.Experiments = []report.Experiment{e}
	return doc, nil, nil
}
