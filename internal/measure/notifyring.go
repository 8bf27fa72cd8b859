package measure

import (
	"errors"
	"fmt"
	"sync/atomic"

	"doorbell/internal/iouring"
)

// ringEntries is the room for SQEs; the CQ has twice that for what a late waiter has not yet taken.
const ringEntries = 128

// ringEventFD is a ring of io_uring's: a notification is a NOP, whose completion is a CQE and a signal of the eventfd that the waiter reads. The kernel may
// signal once for several CQEs, and a read takes all signals, so that there are two places in which notifications become one wake-up.
type ringEventFD struct {
	eventFD
	ring    *iouring.Ring
	batch   int // NOPs of one io_uring_enter at most
	entered atomic.Bool

	// The notifying thread's.
	sent, accepted uint64
	refused        error // the first

	// The waiter's; audit's when it has ended.
	seen      uint64 // wake-ups
	signals   uint64 // what the eventfd had counted
	completed uint64 // CQEs
	numbers   uint64 // the sum of their user data, which are 1 to sent
	failed    error  // the first CQE with a result of its own
	cqes      [2 * ringEntries]iouring.CQE
}

func newRingEventFD(batch int) (*ringEventFD, error) {
	ring, err := iouring.New(ringEntries)
	if err != nil {
		return nil, err
	}
	e, err := newEventFD(0)
	if err != nil {
		return nil, errors.Join(err, ring.Close())
	}
	r := &ringEventFD{eventFD: *e, ring: ring, batch: batch}
	if err := ring.RegisterEventFD(e.read); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

func (r *ringEventFD) close() {
	_ = r.ring.Close()
	r.eventFD.close()
}

// enter refuses a second waiter: CQEs have one consumer.
func (r *ringEventFD) enter() error {
	if !r.entered.CompareAndSwap(false, true) {
		return errors.New("a ring's completions are one thread's")
	}
	return nil
}

func (r *ringEventFD) notify() { r.submit(1) }

func (r *ringEventFD) notifyAll(n int) {
	for ; n > 0; n -= r.batch {
		r.submit(min(n, r.batch))
	}
}

// submit is one io_uring_enter. What goes wrong is audit's to tell; a waiter that the kernel will not wake for it is woken all the same, or it could not end.
func (r *ringEventFD) submit(nops int) {
	for range nops {
		r.sent++
		if !r.ring.NOP(r.sent) && r.refused == nil {
			r.refused = fmt.Errorf("NOP %d: the SQ is full", r.sent)
		}
	}
	accepted, err := r.ring.Enter()
	r.accepted += uint64(accepted)
	if err == nil {
		return
	}
	if r.refused == nil {
		r.refused = err
	}
	r.eventFD.notify()
}

func (r *ringEventFD) wait() uint64 {
	n := r.eventFD.wait()
	if n == 0 {
		return 0
	}
	r.seen++
	r.signals += n
	return r.take()
}

// take takes the CQEs that are there. They may be of a batch that has not signalled yet: its wake-up finds nothing then.
func (r *ringEventFD) take() uint64 {
	n := r.ring.Completions(r.cqes[:])
	for _, c := range r.cqes[:n] {
		r.numbers += c.UserData
		if c.Res != 0 && r.failed == nil {
			r.failed = fmt.Errorf("NOP %d completed with %d", c.UserData, c.Res)
		}
	}
	r.completed += uint64(n)
	return uint64(n)
}

// audit holds the counts of both threads, the kernel's and the caller's against each other: every NOP sent was accepted and completed once, the kernel
// signalled no more often than it completed, and the waiter woke no more often than it was signalled. What was coalesced is the difference: in the kernel
// completed - signals, in the eventfd signals - seen. The last NOPs, which told the waiter to end, may be neither signalled to it nor taken by it.
func (r *ringEventFD) audit(returns uint64) error {
	r.take()
	if err := errors.Join(r.refused, r.failed); err != nil {
		return err
	}
	once := r.numbers == r.sent*(r.sent+1)/2
	if r.sent != r.accepted || r.accepted != r.completed || !once || r.signals > r.completed || r.seen > r.signals || returns != r.seen {
		return fmt.Errorf("the ring's account does not balance: sent %d, accepted %d, completed %d (each once: %v), signals %d, wake-ups %d, of which the waiter returned from %d",
			r.sent, r.accepted, r.completed, once, r.signals, r.seen, returns)
	}
	return nil
}
