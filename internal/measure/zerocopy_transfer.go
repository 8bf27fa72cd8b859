package measure

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"doorbell/internal/guestreport"

	"golang.org/x/sys/unix"
)

// transfer hands the first n bytes of from over to to. Both are whole pages and equally long, and so is spare, which nobody looks at; afterwards the
// sender may fill from again.
type transfer func(to, from, spare []byte, n int) error

func copyMessage(to, from, _ []byte, n int) error {
	copy(to, from[:n])
	return nil
}

// A mover moves pages and leaves the mapping that they were in, without pages.
type mover func(to, from []byte) error

// moveFromMapping has the kernel leave the mapping (MREMAP_DONTUNMAP, Linux 5.7).
func moveFromMapping(to, from []byte) error {
	if err := movePages(to, from, unix.MREMAP_DONTUNMAP); err != nil {
		return fmt.Errorf("move %d bytes of pages: %w", len(from), err)
	}
	return nil
}

// moveMapping is for a kernel on which the mapping moves with its pages: a second system call makes another in its place.
func moveMapping(to, from []byte) error {
	if err := movePages(to, from, 0); err != nil {
		return fmt.Errorf("move a mapping of %d bytes: %w", len(from), err)
	}
	if err := mapFresh(from); err != nil {
		return fmt.Errorf("map %d bytes where pages were moved from: %w", len(from), err)
	}
	return nil
}

// remap moves the sender's pages to the receiver, whose pages of before are freed; the sender's next access to each page faults and gets a zeroed one.
func (move mover) remap(to, from, _ []byte, _ int) error { return move(to, from) }

// exchange gives the sender the receiver's pages of before for its own: nothing is freed and nothing faults, at three moves.
func (move mover) exchange(to, from, spare []byte, _ int) error {
	if err := move(spare, to); err != nil {
		return err
	}
	if err := move(to, from); err != nil {
		return err
	}
	return move(from, spare)
}

// findMover is how this kernel moves pages, in a system call's flags.
func findMover() (move mover, how string, err error) {
	b, err := newBuffers(1)
	if err != nil {
		return nil, "", err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	switch err := moveFromMapping(b.receiver[0], b.sender[0]); {
	case errors.Is(err, unix.EINVAL):
		return moveMapping, "MREMAP_FIXED, then mmap", nil
	case err != nil:
		return nil, "", err
	}
	return moveFromMapping, "MREMAP_FIXED|MREMAP_DONTUNMAP", nil
}

// hostInterrupts is what this host's processors have been interrupted for.
func hostInterrupts() (*guestreport.Interrupts, error) {
	text, err := os.ReadFile("/proc/interrupts")
	if err != nil {
		return nil, err
	}
	table, err := guestreport.ParseInterrupts(string(text))
	if err != nil {
		return nil, fmt.Errorf("the host's: %w", err)
	}
	return &table, nil
}

// keepBusy has a thread of this process on each of those processors until stop: none of them may keep a translation that another thread takes away, and a
// processor that does not sleep is told by an interrupt. stop says which part of the time they ran: while other processes had their processors nobody had to
// be told. It is 1 without any.
func keepBusy(cpus []int) (stop func() (share float64), err error) {
	var ended atomic.Bool
	var threads sync.WaitGroup
	var ran atomic.Int64
	ready := make(chan error)
	for _, cpu := range cpus {
		threads.Go(func() {
			runtime.LockOSThread() // not unlocked: its place ends with the thread
			err := placeOn(unix.Gettid(), cpu)
			before := threadTime()
			ready <- err
			for err == nil && !ended.Load() {
			}
			ran.Add(threadTime() - before)
		})
	}
	for range cpus {
		err = errors.Join(err, <-ready)
	}
	start := time.Now()
	stop = func() float64 {
		took := time.Since(start)
		ended.Store(true)
		threads.Wait()
		if len(cpus) == 0 {
			return 1
		}
		return min(1, float64(ran.Load())/float64(len(cpus))/float64(took.Nanoseconds()))
	}
	if err != nil {
		stop()
		return nil, err
	}
	return stop, nil
}

// threadTime is how long this thread has run, in nanoseconds.
func threadTime() int64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t) // a clock that every kernel has
	return t.Nano()
}
