//go:build lab

package tests

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	"doorbell/internal/probe"
)

// attempts is how often a test is made whose guest dies by itself, where the host is emulated.
const attempts = 3

// guestTest is a test of a guest that is not to crash. QEMU's emulation of SVM loses a guest with several vCPUs now and then (README, "What
// does not work yet"): there, and only there, a test that fails after such a death is made again from its beginning. A test that fails for
// another reason has failed, and so has one whose guest dies each time.
func guestTest(t *testing.T, run func(t testing.TB)) {
	t.Helper()
	for n := 1; ; n++ {
		a := &attempt{TB: t}
		a.run(run)
		if !a.Failed() || a.death == "" || n == attempts || !probe.Host().Emulated {
			a.repeat()
			return
		}
		t.Logf("attempt %d of %d: the emulated guest died: %s; what the test said:\n%s", n, attempts, a.death, strings.Join(a.said, "\n"))
	}
}

// attempt keeps what a test says until it is known whether it counts.
type attempt struct {
	testing.TB
	mu      sync.Mutex // guards what follows: tests have goroutines
	said    []string
	failed  bool
	death   string
	cleanup []func()
}

// died notes that the guest has gone without being asked to.
func died(t testing.TB, how string) {
	if a, ok := t.(*attempt); ok {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.death = how
	}
}

// run runs a test's body in a goroutine of its own, which FailNow ends, and then what is to be cleaned up after it. A body that stumbles over
// what a dead guest did not report has failed like any other.
func (a *attempt) run(body func(t testing.TB)) {
	inGoroutine := func(f func()) {
		done := make(chan any)
		go func() {
			finished := false
			defer func() {
				var r any
				if !finished {
					r = recover() // nil: FailNow
				}
				done <- r
			}()
			f()
			finished = true
		}()
		r := <-done
		switch {
		case r == nil:
		case a.death != "":
			a.say(true, fmt.Sprintf("panic: %v", r))
		default:
			panic(r)
		}
	}
	inGoroutine(func() { body(a) })
	for {
		a.mu.Lock()
		n := len(a.cleanup)
		if n == 0 {
			a.mu.Unlock()
			return
		}
		f := a.cleanup[n-1]
		a.cleanup = a.cleanup[:n-1]
		a.mu.Unlock()
		inGoroutine(f)
	}
}

// repeat gives the real test what was said.
func (a *attempt) repeat() {
	for _, line := range a.said {
		a.TB.Log(line)
	}
	if a.failed {
		a.TB.Fail()
	}
}

func (a *attempt) say(fail bool, line string) {
	if _, file, at, ok := runtime.Caller(2); ok {
		line = fmt.Sprintf("%s:%d: %s", file[strings.LastIndexByte(file, '/')+1:], at, strings.TrimSuffix(line, "\n"))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.said = append(a.said, line)
	a.failed = a.failed || fail
}

func (a *attempt) Helper()                           {}
func (a *attempt) Log(args ...any)                   { a.say(false, fmt.Sprintln(args...)) }
func (a *attempt) Logf(format string, args ...any)   { a.say(false, fmt.Sprintf(format, args...)) }
func (a *attempt) Error(args ...any)                 { a.say(true, fmt.Sprintln(args...)) }
func (a *attempt) Errorf(format string, args ...any) { a.say(true, fmt.Sprintf(format, args...)) }

func (a *attempt) Fatal(args ...any) {
	a.say(true, fmt.Sprintln(args...))
	runtime.Goexit()
}

func (a *attempt) Fatalf(format string, args ...any) {
	a.say(true, fmt.Sprintf(format, args...))
	runtime.Goexit()
}

func (a *attempt) Fail() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.failed = true
}

func (a *attempt) FailNow() {
	a.Fail()
	runtime.Goexit()
}

func (a *attempt) Failed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.failed
}

func (a *attempt) Cleanup(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cleanup = append(a.cleanup, f)
}

// TestAttempt: a test is made again when its guest has died, and not when it has failed.
func TestAttempt(t *testing.T) {
	for _, c := range []struct {
		name  string
		death string
		fatal bool
		fails bool
	}{{"fine", "", false, false}, {"dead", "triple fault", true, true}, {"stumbled", "triple fault", false, true}, {"wrong", "", false, true}, {"wrong at once", "", true, true}} {
		a, cleaned := &attempt{TB: t}, 0
		a.run(func(t testing.TB) {
			t.Cleanup(func() { cleaned++ })
			if c.death != "" {
				died(t, c.death)
			}
			switch {
			case c.name == "stumbled":
				panic(c.name)
			case c.fatal:
				t.Fatalf("%s", c.name)
			case c.fails:
				t.Errorf("%s", c.name)
			}
			t.Cleanup(func() { cleaned++ })
		})
		want := 2
		if c.death != "" || c.fatal {
			want = 1
		}
		if a.Failed() != c.fails || a.death != c.death || cleaned != want {
			t.Errorf("%s: failed %v, death %q, %d cleaned up: %q", c.name, a.failed, a.death, cleaned, a.said)
		}
		if c.fails && !strings.HasSuffix(a.said[0], c.name) {
			t.Errorf("%s: said %q", c.name, a.said)
		}
	}
}
