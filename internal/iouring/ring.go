// Package iouring is as much of io_uring(7) as it takes to measure its notifications: NOPs submitted in batches, their completions, and an eventfd that
// the kernel signals when there are some.
//
// A ring is two queues in memory that the kernel shares. Indexes run freely modulo 2^32; the low bits choose the entry. Each index has one writer:
//
//	      producer, writes tail       consumer, writes head
//	SQ    this process                the kernel, in io_uring_enter(2)
//	CQ    the kernel                  this process
//
// A producer fills entries and then publishes them by a store-release of the tail; the consumer's load-acquire of the tail makes the entries visible to it. A
// consumer reads entries and then frees them by a store-release of the head; the producer's load-acquire of the head tells it that they may be
// overwritten. Neither needs more than a plain load of the index that it writes itself. Go's atomic loads are acquire and its atomic stores release, at least.
package iouring

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Ring is an io_uring instance. One goroutine at a time may submit (NOP, Enter) and one, the same or another, may take completions (Completions).
type Ring struct {
	fd          int
	rings, sqes []byte // mapped: both queues' indexes with the CQEs, and the SQEs
	sq          sq
	cq          cq
}

// sq is the submission queue, of which this process is the producer.
type sq struct {
	head, tail *atomic.Uint32
	entries    []sqe  // a power of two
	next       uint32 // the tail with what is not yet published
}

// cq is the completion queue, of which this process is the consumer.
type cq struct {
	head, tail *atomic.Uint32
	entries    []CQE // a power of two
}

// New makes a ring with room for that many SQEs, rounded up to a power of two, and twice as many CQEs. Where the host refuses, the error is an
// *UnavailableError. The kernel makes the descriptor close-on-exec.
func New(entries uint32) (_ *Ring, err error) {
	var p params
	fd, err := setup(entries, &p)
	if err != nil {
		return nil, setupError(err, entries, disabled())
	}
	r := &Ring{fd: fd}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	if p.features&featureSingleMmap == 0 {
		return nil, &UnavailableError{Reason: "the kernel does not map both queues at once (Linux 5.4)"}
	}
	size := max(p.sq.array+4*p.sqEntries, p.cq.cqes+cqeBytes*p.cqEntries)
	if r.rings, err = mapShared(fd, offsetRings, size); err != nil {
		return nil, fmt.Errorf("map the queues of a ring: %w", err)
	}
	if r.sqes, err = mapShared(fd, offsetSQEs, sqeBytes*p.sqEntries); err != nil {
		return nil, fmt.Errorf("map the SQEs of a ring: %w", err)
	}
	r.sq = sq{head: word(r.rings, p.sq.head), tail: word(r.rings, p.sq.tail), entries: array[sqe](r.sqes, 0, p.sqEntries)}
	r.sq.next = r.sq.tail.Load()
	r.cq = cq{head: word(r.rings, p.cq.head), tail: word(r.rings, p.cq.tail), entries: array[CQE](r.rings, p.cq.cqes, p.cqEntries)}
	// What the SQ proper has are indexes of SQEs; here the entry i is always SQE i.
	for i := range p.sqEntries {
		binary.NativeEndian.PutUint32(r.rings[p.sq.array+4*i:], i)
	}
	return r, nil
}

func mapShared(fd int, offset int64, size uint32) ([]byte, error) {
	return unix.Mmap(fd, offset, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
}

// RegisterEventFD has the kernel add to an eventfd after it has posted CQEs: once or more for those of one io_uring_enter, as the kernel likes
// (io_uring_register(2), IORING_REGISTER_EVENTFD). The ring keeps the eventfd until it is closed.
func (r *Ring) RegisterEventFD(fd int) error {
	if err := registerFD(r.fd, registerEventFD, int32(fd)); err != nil {
		return fmt.Errorf("IORING_REGISTER_EVENTFD %d: %w", fd, err)
	}
	return nil
}

// NOP puts an SQE that does nothing into the SQ; Enter submits it. It is false if the SQ is full.
func (r *Ring) NOP(userData uint64) bool {
	q := &r.sq
	// Acquire: the kernel has read the SQE that is overwritten here.
	if q.next-q.head.Load() == uint32(len(q.entries)) {
		return false
	}
	q.entries[q.next&uint32(len(q.entries)-1)] = sqe{userData: userData}
	q.next++
	return true
}

// Enter submits what is in the SQ by one io_uring_enter(2) and says how many SQEs the kernel has accepted; the others stay for the next. It does not wait for
// completions, but NOPs complete within the call.
func (r *Ring) Enter() (accepted int, err error) {
	q := &r.sq
	q.tail.Store(q.next) // release: the SQEs before the tail
	n := q.next - q.head.Load()
	if n == 0 {
		return 0, nil
	}
	if accepted, err = enter(r.fd, n); err != nil {
		return 0, fmt.Errorf("io_uring_enter of %d SQEs: %w", n, err)
	}
	return accepted, nil
}

// Completions takes as many CQEs as are there and fit, and says how many. It makes no system call. With more outstanding than the CQ has room for, CQEs stay in
// the kernel, and those are not got by this.
func (r *Ring) Completions(into []CQE) int {
	q := &r.cq
	head := q.head.Load()
	n := min(int(q.tail.Load()-head), len(into)) // acquire: the CQEs before the tail
	for i := range n {
		into[i] = q.entries[(head+uint32(i))&uint32(len(q.entries)-1)]
	}
	q.head.Store(head + uint32(n)) // release: they have been read
	return n
}

// Close gives the ring back. Nobody may be using it.
func (r *Ring) Close() error {
	var errs []error
	for _, m := range []*[]byte{&r.sqes, &r.rings} {
		if *m != nil {
			errs = append(errs, unix.Munmap(*m))
			*m = nil
		}
	}
	r.sq, r.cq = sq{}, cq{}
	if err := errors.Join(append(errs, unix.Close(r.fd))...); err != nil {
		return fmt.Errorf("close a ring: %w", err)
	}
	return nil
}
