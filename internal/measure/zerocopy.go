package measure

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"

	"doorbell/internal/probe"
	"doorbell/internal/report"
	"doorbell/internal/threads"
	"doorbell/vmm"

	"golang.org/x/sys/unix"
)

const zeroCopyRounds = 3

// zeroCopySizes are the messages', in bytes. A message smaller than a page moves a whole one.
var zeroCopySizes = []int{64, 512, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20}

// A zeroCopyArm is a size, and how many threads of the process run while messages of this size are handed over.
type zeroCopyArm struct{ size, threads int }

func (a zeroCopyArm) name() string { return sizeName(float64(a.size)) + ", " + threadsName(a.threads) }

// batches are as many as keep the round short: with pages of 4 KiB a message of 4 MiB takes a thousand faults, which an emulated host serves in tens of
// milliseconds.
func (a zeroCopyArm) batches() int { return min(8, 20<<20/a.size) }

func threadsName(n int) string {
	if n == 1 {
		return "1 thread"
	}
	return fmt.Sprintf("%d threads", n)
}

// threadCounts are one, two, and all that have a processor each.
func threadCounts(processors int) []int {
	return slices.Compact([]int{1, min(2, processors), processors})
}

// A way is one to hand a message over.
type way struct {
	key, name string // in JSON, and for people
	transfer
}

// zeroCopyWays are copying, to which times are put in proportion, and the ways to move pages.
func zeroCopyWays(move mover) []way {
	return []way{
		{"copy", "copying", copyMessage},
		{"remap", "remapping", move.remap},
		{"exchange", "exchanging", move.exchange},
	}
}

// A zeroCopyRow is what the rounds of one arm gave, by a way's key and the figure.
type zeroCopyRow struct {
	zeroCopyArm
	messages int
	figures  map[string]spread
	busy     spread // which part of the time the other threads ran
}

// add takes a round. Times are put in proportion within it: what is slow now is slow for all of them.
func (r *zeroCopyRow) add(ways []way, counts []*transferCounts, busy float64) {
	r.busy = append(r.busy, busy)
	r.messages += counts[0].messages
	for i, w := range ways {
		c := counts[i]
		put := func(name string, v float64) { r.figures[w.key+name] = append(r.figures[w.key+name], v) }
		put("_ns", c.ns)
		put("_faults_per_message", c.faults)
		if c.shootdowns != nil {
			put("_shootdowns_per_message", *c.shootdowns)
		}
		if i > 0 {
			put("_time_ratio", c.ns/counts[0].ns)
		}
	}
}

// measureZeroCopy is a round of one arm. The ways come one after the other in an order of their own, so that the host does not change much between them.
func measureZeroCopy(ctx context.Context, a zeroCopyArm, ways []way, order, others []int) (counts []*transferCounts, busy float64, err error) {
	stop, err := keepBusy(others)
	if err != nil {
		return nil, 0, err
	}
	defer func() { busy = stop() }()
	b, err := newBuffers(a.size)
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	counts = make([]*transferCounts, len(ways))
	for _, i := range order {
		if counts[i], err = b.run(ctx, ways[i].transfer, a.batches()); err != nil {
			return nil, 0, fmt.Errorf("%s: %w", ways[i].name, err)
		}
	}
	return counts, 0, nil
}

// noHugePages keeps this process's memory in small pages until restore: a huge page moves as one, and whether a buffer has some is chance.
func noHugePages() (restore func() error, err error) {
	was, err := unix.PrctlRetInt(unix.PR_GET_THP_DISABLE, 0, 0, 0, 0)
	if err != nil {
		return nil, fmt.Errorf("ask whether this process may have huge pages: %w", err)
	}
	set := func(off int) error {
		if err := unix.Prctl(unix.PR_SET_THP_DISABLE, uintptr(off), 0, 0, 0); err != nil {
			return fmt.Errorf("set whether this process may have huge pages: %w", err)
		}
		return nil
	}
	if was != 0 {
		return func() error { return nil }, nil
	}
	return func() error { return set(0) }, set(1)
}

// ZeroCopy is the experiment `zerocopy`: from which size it is cheaper to move a message's pages to the receiver than to copy them. One thread is sender
// and receiver, so that no wake-up is in it; it is on one processor with all else of this process, and the threads that keep other processors busy are
// the only ones there.
func ZeroCopy(ctx context.Context, cfg vmm.Config) (doc *report.Document, _ *vmm.Result, err error) {
	doc = &report.Document{Environment: probe.Host()}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cpus, err := takeProcessors()
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, cpus.give()) }()
	restore, err := noHugePages()
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, restore()) }()
	move, how, err := findMover()
	if err != nil {
		return nil, nil, err
	}
	ways, all := zeroCopyWays(move), threads.Members(&cpus.before)
	var rows []zeroCopyRow
	for _, n := range threadCounts(len(all)) {
		for _, size := range zeroCopySizes {
			rows = append(rows, zeroCopyRow{zeroCopyArm: zeroCopyArm{size, n}, figures: map[string]spread{}})
		}
	}
	order := newRounds(ctx, zeroCopyRounds)
	random := rand.New(rand.NewPCG(order.seed, 1))
	failures := order.each(ctx, cfg, "zerocopy", namesOf(rows, func(r zeroCopyRow) string { return r.name() }), func(i int) error {
		counts, busy, err := measureZeroCopy(ctx, rows[i].zeroCopyArm, ways, random.Perm(len(ways)), all[1:rows[i].threads])
		if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
			return nil // the rounds before count
		}
		if err == nil {
			rows[i].add(ways, counts, busy)
		}
		return err
	})
	e, err := zeroCopyExperiment(rows, ways, doc.Environment.Emulated, func(e *report.Experiment, i int) bool {
		return missed(e, rows[i].name(), failures[i], context.Cause(ctx), len(rows[i].busy), order.n)
	})
	if err != nil {
		return nil, nil, err
	}
	e.Parameters = order.parameters()
	e.Parameters["moved_by"] = how
	if len(all) == 1 {
		e.Missing["2 threads and more"] = "one processor has no other to tell of a page that moves"
	}
	doc.Experiments = []report.Experiment{*e}
	return doc, nil, nil
}
