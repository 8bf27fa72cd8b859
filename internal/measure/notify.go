package measure

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"doorbell/internal/probe"
	"doorbell/internal/report"
	"doorbell/vmm"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"
)

const (
	notifyRounds = 3
	notifySingle = 1000 // notifications one after the other
	notifyBursts = 100  // and of notifyBurst at once
	notifyBurst  = 16
	// settle is how long a waiter gets to fall asleep, and after how long without a wake-up there is none to come.
	settle = 300 * time.Microsecond
)

// A notifyArm is a way to wake threads, and how many wait.
type notifyArm struct {
	name    string
	waiters int
	open    func() (notifier, error)
}

func notifyArms() []notifyArm {
	event := func() (notifier, error) { return newEventFD(0) }
	polled := func() (notifier, error) {
		e, err := newEventFD(unix.EFD_NONBLOCK)
		if err != nil {
			return nil, err
		}
		return &polledEventFD{*e}, nil
	}
	// What comes alone does not wait for a batch to be full: it is an io_uring_enter of its own in both arms.
	ring := func(batch int) notifyArm {
		return notifyArm{fmt.Sprintf("io_uring, %d per enter", batch), 1, func() (notifier, error) { return newRingEventFD(batch) }}
	}
	return []notifyArm{
		{"eventfd", 1, event},
		{"pipe", 1, func() (notifier, error) { return newPipe() }},
		{"futex", 1, func() (notifier, error) { return &futexWord{}, nil }},
		{"signal", 1, func() (notifier, error) { return newSignalled() }},
		ring(1),
		ring(notifyBurst),
		{"eventfd, 4 readers", 4, event},
		{"futex, 4 waiters", 4, func() (notifier, error) { return &futexWord{}, nil }},
		{"eventfd, 4 pollers", 4, polled},
	}
}

// offered opens each arm's way once: what this host does not offer has its reason in the report, and no rounds.
func offered(arms []notifyArm) (kept []notifyArm, missing map[string]string) {
	missing = map[string]string{}
	for _, a := range arms {
		n, err := a.open()
		if errors.Is(err, errors.ErrUnsupported) {
			missing[a.name] = err.Error()
			continue
		}
		if err == nil {
			n.close()
		}
		kept = append(kept, a) // with another error, too: that is a failure, and each round may have its own
	}
	return kept, missing
}

// notifyCounts is what an arm gave in a round.
type notifyCounts struct {
	wakeupsEach  float64 // per notification that came alone
	sleepsEach   float64 // the same, as the scheduler counts how often a waiter went to sleep: also those that found nothing
	wakeupsBurst float64 // per burst
	taken        float64 // notifications that a burst's waiters have taken, per burst
	latency      *hdrhistogram.Histogram
}

// sleeps is how often threads have gone to sleep by themselves (voluntary_ctxt_switches of proc(5)).
func sleeps(tids []int) (n uint64, err error) {
	for _, tid := range tids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/status", tid))
		if err != nil {
			return 0, err
		}
		_, rest, ok := strings.Cut(string(text), "\nvoluntary_ctxt_switches:")
		line, _, _ := strings.Cut(rest, "\n")
		v, err := strconv.ParseUint(strings.TrimSpace(line), 10, 64)
		if !ok || err != nil {
			return 0, fmt.Errorf("thread %d: the kernel does not count how often it sleeps", tid)
		}
		n += v
	}
	return n, nil
}

// measureNotify wakes the arm's waiters, which are on the target's processor while this thread is on the injector's.
func measureNotify(cpus *processors, arm notifyArm) (c *notifyCounts, err error) {
	n, err := arm.open()
	if err != nil {
		return nil, err
	}
	var wakeups, taken atomic.Uint64
	var stop atomic.Bool
	var waiters sync.WaitGroup
	tids := make([]int, arm.waiters)
	ready := make(chan error)
	for w := range arm.waiters {
		waiters.Go(func() {
			runtime.LockOSThread() // not unlocked: the thread's mask and place end with it
			tids[w] = unix.Gettid()
			err := errors.Join(n.enter(), cpus.place(unix.Gettid()))
			ready <- err
			for err == nil && !stop.Load() {
				got := n.wait()
				wakeups.Add(1)
				taken.Add(got)
			}
		})
	}
	for range arm.waiters {
		err = errors.Join(err, <-ready)
	}
	defer func() {
		stop.Store(true)
		ended := make(chan struct{})
		go func() { waiters.Wait(); close(ended) }()
		for done := false; !done; {
			n.notify()
			select {
			case <-ended:
				done = true
			case <-time.After(time.Millisecond):
			}
		}
		if a, ok := n.(audited); ok {
			err = errors.Join(err, a.audit(wakeups.Load()))
		}
		n.close()
	}()
	if err != nil {
		return nil, err
	}
	c = &notifyCounts{latency: hdrhistogram.New(1, interruptLimit.Nanoseconds(), 3)}
	cpus.linger(settle)
	first, firstTaken := wakeups.Load(), taken.Load()
	slept, err := sleeps(tids)
	if err != nil {
		return nil, err
	}
	for i := range uint64(notifySingle) {
		sent := time.Now()
		n.notify()
		if !cpus.await(func() bool { return taken.Load() > firstTaken+i }, interruptLimit) {
			return nil, fmt.Errorf("notification %d woke nobody in %v", i+1, interruptLimit)
		}
		_ = c.latency.RecordValue(time.Since(sent).Nanoseconds()) // it is within the limit
		cpus.linger(settle / 4)
	}
	cpus.linger(settle)
	c.wakeupsEach = float64(wakeups.Load()-first) / notifySingle
	now, err := sleeps(tids)
	if err != nil {
		return nil, err
	}
	c.sleepsEach = float64(now-slept) / notifySingle
	first, firstTaken = wakeups.Load(), taken.Load()
	for range notifyBursts {
		before := taken.Load()
		if b, ok := n.(batcher); ok {
			b.notifyAll(notifyBurst)
		} else {
			for range notifyBurst {
				n.notify()
			}
		}
		if !cpus.await(func() bool { return taken.Load() > before }, interruptLimit) {
			return nil, fmt.Errorf("a burst woke nobody in %v", interruptLimit)
		}
		for last := uint64(0); last != wakeups.Load(); cpus.linger(settle) {
			last = wakeups.Load()
		}
	}
	if _, loses := n.(*signalled); !loses {
		const sent = notifySingle + notifyBursts*notifyBurst
		cpus.await(func() bool { return taken.Load() >= sent }, interruptLimit)
		if got := taken.Load(); got != sent {
			return nil, fmt.Errorf("the account does not balance: %d notifications were sent and %d taken", sent, got)
		}
	}
	c.wakeupsBurst = float64(wakeups.Load()-first) / notifyBursts
	c.taken = float64(taken.Load()-firstTaken) / notifyBursts
	return c, nil
}

// Notify is the experiment `notify`: what it takes to wake a thread on the host, and what becomes of notifications that come together.
func Notify(ctx context.Context, cfg vmm.Config) (doc *report.Document, _ *vmm.Result, err error) {
	doc = &report.Document{Environment: probe.Host()}
	cpus, err := takeProcessors()
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, cpus.give()) }()
	arms, missing := offered(notifyArms())
	each, slept, burst, taken, times := make([]spread, len(arms)), make([]spread, len(arms)), make([]spread, len(arms)), make([]spread, len(arms)), make([]spread, len(arms))
	order := newRounds(ctx, notifyRounds)
	failures := order.each(ctx, cfg, "notify", namesOf(arms, func(a notifyArm) string { return a.name }), func(i int) error {
		c, err := measureNotify(cpus, arms[i])
		if err != nil {
			return err
		}
		slept[i] = append(slept[i], c.sleepsEach)
		each[i], burst[i], taken[i] = append(each[i], c.wakeupsEach), append(burst[i], c.wakeupsBurst), append(taken[i], c.taken)
		times[i] = append(times[i], float64(c.latency.ValueAtQuantile(50)))
		return nil
	})
	e := report.Experiment{Name: "notify", Parameters: order.parameters(),
		Missing: missing,
		Table: &report.Table{
			Columns: []string{"way, waiters", "woke and returned, per notification", "woke at all", "least", "most", fmt.Sprintf("woke and returned, per burst of %d", notifyBurst), "of it taken", "time, ÷ eventfd"},
		}}
	e.Parameters["notifications_per_round"], e.Parameters["bursts_per_round"], e.Parameters["burst"] = notifySingle, notifyBursts, notifyBurst
	alone, together := plot("wake-ups per notification that came alone"), plot(fmt.Sprintf("returns per burst of %d", notifyBurst))
	e.Plots, e.Literature = []*report.Plot{alone, together}, literatureNotify
	for i, a := range arms {
		if missed(&e, a.name, failures[i], context.Cause(ctx), len(each[i]), order.n) {
			continue
		}
		row := map[string]any{"way": a.name, "waiters": a.waiters, "time_ratio": nil}
		each[i].into(row, "returns_per_notification")
		slept[i].into(row, "wakeups_per_notification")
		burst[i].into(row, "returns_per_burst")
		taken[i].into(row, "taken_per_burst")
		ratio := "-"
		if len(times[0]) > 0 && !cpus.shared() {
			r := times[i].over(times[0].median())
			r.into(row, "time_ratio")
			ratio = fixed(r.median(), 2)
		}
		e.Rows = append(e.Rows, row)
		low, high := slept[i].bounds()
		e.Table.Rows = append(e.Table.Rows, []string{a.name, fixed(each[i].median(), 2), fixed(slept[i].median(), 2), fixed(low, 2), fixed(high, 2), fixed(burst[i].median(), 1), fixed(taken[i].median(), 1), ratio})
		alone.Bars, together.Bars = append(alone.Bars, bar(a.name, slept[i].median())), append(together.Bars, bar(a.name, burst[i].median()))
	}
	if len(e.Rows) == 0 {
		return nil, nil, fmt.Errorf("nothing was measured: %s", reasons(e.Missing))
	}
	e.Finding = e.Sentence("way",
		report.Clause{Row: "eventfd", Figure: "returns_per_burst", Words: fmt.Sprintf("a burst of %d notifications woke an eventfd's reader %%.1f times", notifyBurst)},
		report.Clause{Row: "io_uring, 16 per enter", Figure: "returns_per_burst", Words: "that of a batch of an io_uring %.1f times"},
		report.Clause{Row: "signal", Figure: "taken_per_burst", Words: "a signal's waiter took %.1f of them"},
		report.Clause{Row: "eventfd, 4 pollers", Figure: "wakeups_per_notification", Words: "of four that poll one eventfd %.1f woke for one notification"},
		report.Clause{Row: "futex, 4 waiters", Figure: "wakeups_per_notification", Words: "of four at a futex %.1f"})
	doc.Experiments = []report.Experiment{e}
	return doc, nil, nil
}
