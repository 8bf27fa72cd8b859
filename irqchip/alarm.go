package irqchip

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// alarms is a thread that waits for times and calls functions when they have come.
//
// Go's own timers would be late here: they belong to a processor of its scheduler, and one whose thread has gone into KVM_RUN is noticed by
// the runtime's monitor only, up to 10 ms later.
type alarms struct {
	epoll, stop int
	list        []*alarm
	started     bool
	done        chan struct{}
}

// alarm is one time to wait for.
type alarm struct {
	fd   int
	fire func() // on the alarms' thread
	at   int64  // as set last; unset
	spec unix.ItimerSpec
}

// unset is the time of an alarm that does not wait.
const unset = math.MinInt64

func newAlarms() (_ *alarms, err error) {
	a := &alarms{epoll: -1, stop: -1, done: make(chan struct{})}
	if a.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	if a.stop, err = newEventFD(); err == nil {
		err = a.watch(a.stop, -1)
	}
	if err != nil {
		a.close()
		return nil, err
	}
	return a, nil
}

func (a *alarms) watch(fd, index int) error {
	e := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(index)}
	if err := unix.EpollCtl(a.epoll, unix.EPOLL_CTL_ADD, fd, &e); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// add makes an alarm, before start.
func (a *alarms) add(fire func()) (*alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("timerfd_create: %w", err)
	}
	al := &alarm{fd: fd, fire: fire, at: unset}
	if err := a.watch(fd, len(a.list)); err != nil {
		unix.Close(fd)
		return nil, err
	}
	a.list = append(a.list, al)
	return al, nil
}

func (a *alarms) start() {
	a.started = true
	go a.run()
}

func (a *alarms) run() {
	runtime.LockOSThread() // a thread that is never behind another goroutine
	defer runtime.UnlockOSThread()
	defer close(a.done)
	var events [32]unix.EpollEvent
	for {
		n, err := unix.EpollWait(a.epoll, events[:], -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return // the descriptor is ours: it cannot happen
		}
		for _, e := range events[:max(n, 0)] {
			if e.Fd < 0 {
				return
			}
			a.list[e.Fd].fire()
		}
	}
}

// close stops the thread and forgets the alarms, which must not be set any more.
func (a *alarms) close() {
	if a.started {
		_, _ = unix.Write(a.stop, one)
		<-a.done
	}
	for _, al := range a.list {
		unix.Close(al.fd)
	}
	for _, fd := range []int{a.stop, a.epoll} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// set makes the alarm wait for a time of clock.Now, which may have passed, or for none. Its calls come one at a time. One that changes nothing
// costs no system call.
func (al *alarm) set(at int64, ok bool) {
	if !ok {
		at = unset
	}
	if at == al.at {
		return
	}
	al.at = at
	al.spec.Value = unix.Timespec{} // disarmed
	if ok {
		al.spec.Value = unix.NsecToTimespec(max(at, 1))
	}
	_ = unix.TimerfdSettime(al.fd, unix.TFD_TIMER_ABSTIME, &al.spec, nil)
}

// clock is CLOCK_MONOTONIC, which timerfd runs by, read as Go reads it: without a system call.
type clock struct {
	start time.Time
	base  int64 // CLOCK_MONOTONIC at start, or a moment later
}

func newClock() clock {
	c := clock{start: time.Now()}
	var ts unix.Timespec
	// It cannot fail for this clock. Read after start, so that Now is never behind the timers: what an alarm has waited for has come.
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	c.base = ts.Nano()
	return c
}

// Now implements lapic.Clock.
func (c clock) Now() int64 { return c.base + int64(time.Since(c.start)) }

// TSC implements lapic.Clock. The guest's counter is not known here, and without its frequency nobody asks.
func (c clock) TSC() uint64 { return 0 }
