package measure

import (
	"errors"
	"strings"
	"testing"

	"doorbell/internal/iouring"
)

// openRing opens a ring's notifier, or skips the test where the host refuses one.
func openRing(t *testing.T, batch int) *ringEventFD {
	t.Helper()
	r, err := newRingEventFD(batch)
	var unavailable *iouring.UnavailableError
	if errors.As(err, &unavailable) {
		t.Skip(unavailable)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.close)
	return r
}

// TestNotifyIOUring: a NOP that comes alone is a wake-up, and a burst by one io_uring_enter no more than one by sixteen; none is lost.
func TestNotifyIOUring(t *testing.T) {
	openRing(t, 1)
	cpus, err := takeProcessors()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := cpus.give(); err != nil {
			t.Error(err)
		}
	}()
	for _, arm := range notifyArms() {
		if !strings.HasPrefix(arm.name, "io_uring") && arm.name != "eventfd" {
			continue
		}
		c, err := measureNotify(cpus, arm)
		if err != nil {
			t.Errorf("%s: %v", arm.name, err)
			continue
		}
		t.Logf("%s: %.2f returns and %.2f sleeps per notification, %.1f returns per burst took %.1f, %d ns", arm.name, c.wakeupsEach, c.sleepsEach, c.wakeupsBurst, c.taken, c.latency.ValueAtQuantile(50))
		if c.wakeupsEach < 0.9 || c.wakeupsEach > 1.1 || c.taken < 15.9 || c.taken > 16.1 || c.wakeupsBurst < 0.9 || c.wakeupsBurst > 16 {
			t.Errorf("%s: %+v", arm.name, c)
		}
		if arm.name == "io_uring, 16 per enter" && c.wakeupsBurst > 2 {
			t.Errorf("a batch woke its waiter %.1f times", c.wakeupsBurst)
		}
	}
}

// TestNotifyIOUringAudit: a ring's counts balance, and each that is wrong is told.
func TestNotifyIOUringAudit(t *testing.T) {
	for name, wrong := range map[string]func(r *ringEventFD) (returns uint64){
		"":                                func(r *ringEventFD) uint64 { return r.seen },
		"accepted 39,":                    func(r *ringEventFD) uint64 { r.accepted--; return r.seen },
		"completed 39 (each once: true)":  func(r *ringEventFD) uint64 { r.completed--; return r.seen },
		"completed 40 (each once: false)": func(r *ringEventFD) uint64 { r.numbers--; return r.seen },
		"signals 41":                      func(r *ringEventFD) uint64 { r.signals = 41; return r.seen },
		"signals 0":                       func(r *ringEventFD) uint64 { r.signals = 0; return r.seen },
		"returned from 2":                 func(r *ringEventFD) uint64 { return r.seen + 1 },
		"completed with -22":              func(r *ringEventFD) uint64 { r.failed = errors.New("NOP 1 completed with -22"); return r.seen },
	} {
		r := openRing(t, 16)
		r.notifyAll(40)
		if got := r.wait(); got != 40 {
			t.Errorf("%d of 40 taken", got)
		}
		err := r.audit(wrong(r))
		if name == "" && err != nil || name != "" && (err == nil || !strings.Contains(err.Error(), name)) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TestNotifyIOUringLate: what a CQ has no room for, because the waiter never came, has the row refused.
func TestNotifyIOUringLate(t *testing.T) {
	r := openRing(t, 16)
	r.notifyAll(3 * ringEntries)
	if err := r.audit(0); err == nil || !strings.Contains(err.Error(), "balance") && !strings.Contains(err.Error(), "io_uring_enter") {
		t.Errorf("%v", err)
	}
}

// TestNotifyIOUringOneWaiter: a second waiter is refused.
func TestNotifyIOUringOneWaiter(t *testing.T) {
	r := openRing(t, 1)
	if err := r.enter(); err != nil {
		t.Error(err)
	}
	if err := r.enter(); err == nil {
		t.Error("two consumers of one CQ")
	}
}

// TestNotifyOffered: a way that the host refuses has its reason and no rounds; one that fails keeps them.
func TestNotifyOffered(t *testing.T) {
	arm := func(name string, err error) notifyArm {
		return notifyArm{name, 1, func() (notifier, error) {
			if err != nil {
				return nil, err
			}
			return &futexWord{}, nil
		}}
	}
	kept, missing := offered([]notifyArm{arm("works", nil), arm("refused", &iouring.UnavailableError{Reason: "kernel.io_uring_disabled is 2"}), arm("fails", errors.New("no memory"))})
	if got := strings.Join(namesOf(kept, func(a notifyArm) string { return a.name }), " "); got != "works fails" {
		t.Errorf("kept %s", got)
	}
	if len(missing) != 1 || !strings.Contains(missing["refused"], "io_uring_disabled is 2") {
		t.Errorf("%v", missing)
	}
}
