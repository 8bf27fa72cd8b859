package netdev

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"

	"doorbell/virtio/backend"

	"golang.org/x/sys/unix"
)

// waiter is what a queue's goroutine waits with: an epoll set of the queue's kick, the backend's descriptor, a wake-up of its own and
// a timer. It lives as long as the device, since a backend may wake it at any time.
//
// Nothing is read from the wake-up and the timer: in edge-triggered mode each signal is an event whatever the count is.
type waiter struct {
	epoll, wakeup, timer int
	mode                 IOMode
	gate                 *backend.Gate // who is inside may use wakeup
	state                atomic.Uint32

	// The goroutine's own.
	kick     int
	source   int  // the backend's descriptor
	attached bool // source is in the set
	armed    bool // source will be heard of
	set      int64
	spec     unix.ItimerSpec
	events   [4]unix.EpollEvent

	// What the last wait has seen.
	kicked bool
	hungUp bool

	file *os.File // epoll in the network poller; mode Poll
	conn syscall.RawConn
	look func(fd uintptr) bool
}

// States of a waiter. A wake-up signals only who is asleep; whoever is not looks at everything again before it sleeps.
const (
	running uint32 = iota
	asleep
	woken
)

var one = []byte{1, 0, 0, 0, 0, 0, 0, 0}

func newWaiter(mode IOMode) (_ *waiter, err error) {
	w := &waiter{epoll: -1, wakeup: -1, timer: -1, kick: -1, source: -1, mode: mode, gate: backend.NewGate()}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	if w.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	if w.wakeup, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	if w.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK); err != nil {
		return nil, fmt.Errorf("timerfd_create: %w", err)
	}
	if err = errors.Join(w.control(unix.EPOLL_CTL_ADD, w.wakeup, unix.EPOLLET), w.control(unix.EPOLL_CTL_ADD, w.timer, unix.EPOLLET)); err != nil {
		return nil, err
	}
	if mode != Block {
		return w, w.enterPoller()
	}
	return w, nil
}

// enterPoller makes the epoll set itself readable for Go's network poller.
func (w *waiter) enterPoller() (err error) {
	if err := unix.SetNonblock(w.epoll, true); err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	w.file = os.NewFile(uintptr(w.epoll), "epoll")
	w.look = func(uintptr) bool { return w.take(0) }
	if w.conn, err = w.file.SyscallConn(); err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	return nil
}

func (w *waiter) control(op, fd int, events uint32) error {
	e := unix.EpollEvent{Events: unix.EPOLLIN | events, Fd: int32(fd)}
	if err := unix.EpollCtl(w.epoll, op, fd, &e); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// begin adds a queue's kick, and names the backend's descriptor, which may be negative.
func (w *waiter) begin(kick, source int) error {
	if err := w.control(unix.EPOLL_CTL_ADD, kick, unix.EPOLLET); err != nil {
		return err
	}
	w.kick, w.source, w.kicked, w.hungUp = kick, source, false, false
	return nil
}

// end undoes begin.
func (w *waiter) end() {
	w.detach()
	if w.kick >= 0 {
		_ = unix.EpollCtl(w.epoll, unix.EPOLL_CTL_DEL, w.kick, nil)
		w.kick = -1
	}
	w.source = -1
}

// detach forgets the backend's descriptor until it is waited for again. A tap's queue that is not active is not to be polled: it reports
// an error, and one that is added in that state is never heard of again.
func (w *waiter) detach() {
	if w.attached {
		// If the backend has closed the descriptor, it is no longer in the set.
		_ = unix.EpollCtl(w.epoll, unix.EPOLL_CTL_DEL, w.source, nil)
		w.attached, w.armed = false, false
	}
}

// arm makes the next readiness of the backend's descriptor an event, once: while the goroutine is busy, arriving frames cost nothing.
func (w *waiter) arm() {
	if w.source < 0 || w.armed {
		return
	}
	op := unix.EPOLL_CTL_ADD
	if w.attached {
		op = unix.EPOLL_CTL_MOD
	}
	// It fails only for a descriptor that has been closed, which has no more frames.
	if w.control(op, w.source, unix.EPOLLONESHOT) != nil {
		w.hungUp = true
	}
	w.attached, w.armed = true, true
}

// wait returns when the queue was kicked, when wake was called since the last wait, at the deadline if it is not 0, or, if source is set,
// when the backend has something. It may return without any of these.
func (w *waiter) wait(source bool, deadline int64) {
	if deadline != 0 && deadline != w.set {
		left := max(deadline-now(), 1)
		w.spec.Value = unix.NsecToTimespec(left)
		_ = unix.TimerfdSettime(w.timer, 0, &w.spec, nil)
		w.set = deadline
	}
	if source {
		w.arm()
	}
	if !w.hungUp && w.state.CompareAndSwap(running, asleep) {
		w.block()
	}
	w.state.Store(running)
}

func (w *waiter) block() {
	if w.mode != Block {
		// The only error is that the device is closed, after its goroutines.
		_ = w.conn.Read(w.look)
		return
	}
	w.take(-1)
}

// take collects events and says whether there were any.
func (w *waiter) take(timeout int) bool {
	n, err := unix.EpollWait(w.epoll, w.events[:], timeout)
	if err != nil {
		return false // interrupted: the caller looks around and comes back
	}
	for i := range w.events[:n] {
		switch e := &w.events[i]; int(e.Fd) {
		case w.kick:
			w.kicked = true
		case w.timer:
			w.set = 0
		case w.source:
			w.armed = false
			w.hungUp = w.hungUp || e.Events&(unix.EPOLLERR|unix.EPOLLHUP) != 0
		}
	}
	return n > 0
}

// wake makes the present or the next wait return. Any goroutine may call it at any time.
func (w *waiter) wake() {
	if w.state.Swap(woken) == asleep && w.gate.Enter() {
		_, _ = unix.Write(w.wakeup, one)
		w.gate.Leave()
	}
}

// close gives everything back; nobody waits any more.
func (w *waiter) close() {
	w.gate.Close()
	if w.file != nil {
		_ = w.file.Close()
	} else if w.epoll >= 0 {
		_ = unix.Close(w.epoll)
	}
	for _, fd := range []int{w.wakeup, w.timer} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}
