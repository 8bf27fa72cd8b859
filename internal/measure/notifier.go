package measure

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"

	"doorbell/internal/futex"

	"golang.org/x/sys/unix"
)

// A notifier is a way for one thread to wake others.
type notifier interface {
	// notify sends a notification: one system call, without an allocation.
	notify()
	// wait sleeps until it is woken and says how many notifications it has taken with that; 0 where another waiter was faster. It is called by a thread
	// that enter has prepared.
	wait() uint64
	// enter prepares the thread of a waiter.
	enter() error
	close()
}

// A batcher is a notifier that sends several notifications by fewer system calls.
type batcher interface{ notifyAll(n int) }

// An audited notifier has an account of its own. audit says in what it does not balance; its waiters have ended and returned from wait that often.
type audited interface{ audit(returns uint64) error }

// openDescriptors is a notifier that waits by reading.
type openDescriptors struct{ read, write int }

func (o *openDescriptors) enter() error { return nil }

func (o *openDescriptors) close() {
	unix.Close(o.read)
	if o.write != o.read {
		unix.Close(o.write)
	}
}

// eventFD counts what was sent; a read takes all of it.
type eventFD struct{ openDescriptors }

func newEventFD(flags int) (*eventFD, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|flags)
	if err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	return &eventFD{openDescriptors{fd, fd}}, nil
}

// one is an eventfd's 1.
var one = binary.NativeEndian.AppendUint64(nil, 1)

func (e *eventFD) notify() { _, _ = unix.Write(e.write, one) }

func (e *eventFD) wait() uint64 {
	var b [8]byte
	if n, err := unix.Read(e.read, b[:]); err != nil || n != len(b) {
		return 0
	}
	return binary.NativeEndian.Uint64(b[:])
}

// polledEventFD is one that its waiters poll before they read it: each of them is woken.
type polledEventFD struct{ eventFD }

func (e *polledEventFD) wait() uint64 {
	fds := [1]unix.PollFd{{Fd: int32(e.read), Events: unix.POLLIN}}
	if n, err := unix.Poll(fds[:], -1); err != nil || n != 1 {
		return 0
	}
	return e.eventFD.wait()
}

// pipe has a byte for each notification; a read takes those that are there.
type pipe struct{ openDescriptors }

func newPipe() (*pipe, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, fmt.Errorf("pipe: %w", err)
	}
	return &pipe{openDescriptors{fds[0], fds[1]}}, nil
}

func (p *pipe) notify() { _, _ = unix.Write(p.write, one[:1]) }

func (p *pipe) wait() uint64 {
	var b [64]byte
	n, err := unix.Read(p.read, b[:])
	if err != nil || n < 0 {
		return 0
	}
	return uint64(n)
}

// futexWord counts what was sent in a word of memory; waiters sleep on it and take what has come since.
type futexWord struct{ sent, taken atomic.Uint32 }

func (f *futexWord) enter() error { return nil }
func (f *futexWord) close()       {}

func (f *futexWord) notify() {
	f.sent.Add(1)
	futex.Wake(&f.sent, 1)
}

func (f *futexWord) wait() uint64 {
	for {
		sent, taken := f.sent.Load(), f.taken.Load()
		if sent == taken {
			futex.Wait(&f.sent, sent)
			continue
		}
		if f.taken.CompareAndSwap(taken, sent) {
			return uint64(sent - taken)
		}
	}
}

// signalled waits for a signal of its thread's. A standard signal is pending or not: it has no count, and what comes meanwhile is lost.
type signalled struct {
	fd, pid int
	tid     atomic.Int64
	set     unix.Sigset_t
}

// notifySignal is one that the Go runtime leaves alone as long as it is blocked.
const notifySignal = unix.SIGUSR2

func newSignalled() (*signalled, error) {
	s := &signalled{pid: unix.Getpid()}
	s.set.Val[0] = 1 << (notifySignal - 1)
	var err error
	if s.fd, err = unix.Signalfd(-1, &s.set, unix.SFD_CLOEXEC); err != nil {
		return nil, fmt.Errorf("signalfd: %w", err)
	}
	return s, nil
}

func (s *signalled) enter() error {
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &s.set, nil); err != nil {
		return fmt.Errorf("block a signal: %w", err)
	}
	if !s.tid.CompareAndSwap(0, int64(unix.Gettid())) {
		return errors.New("a signal is one thread's")
	}
	return nil
}

func (s *signalled) close() { unix.Close(s.fd) }

func (s *signalled) notify() { _ = unix.Tgkill(s.pid, int(s.tid.Load()), notifySignal) }

func (s *signalled) wait() uint64 {
	var b [128]byte // struct signalfd_siginfo
	if n, err := unix.Read(s.fd, b[:]); err != nil || n != len(b) {
		return 0
	}
	return 1
}
