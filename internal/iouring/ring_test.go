package iouring

import (
	"encoding/binary"
	"errors"
	"strings"
	"sync"
	"testing"

	"doorbell/internal/ioctl"

	"golang.org/x/sys/unix"
)

// newRing makes a ring, or skips the test where the host refuses one.
func newRing(t *testing.T, entries uint32) *Ring {
	t.Helper()
	r, err := New(entries)
	var unavailable *UnavailableError
	if errors.As(err, &unavailable) {
		t.Skip(unavailable)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func submit(t *testing.T, r *Ring, first uint64, n int) {
	t.Helper()
	for i := range n {
		if !r.NOP(first + uint64(i)) {
			t.Fatalf("the SQ is full at %d of %d", i, n)
		}
	}
	if got, err := r.Enter(); err != nil || got != n {
		t.Fatalf("%d of %d accepted, %v", got, n, err)
	}
}

// TestRingABI: the structs have the sizes of linux/io_uring.h.
func TestRingABI(t *testing.T) {
	if p, s, c := ioctl.Size(params{}), ioctl.Size(sqe{}), ioctl.Size(CQE{}); p != 120 || s != sqeBytes || c != cqeBytes {
		t.Errorf("params %d, SQE %d, CQE %d bytes", p, s, c)
	}
}

// TestRingWraps: over several times its length a ring gives each NOP back once, in batches of every size; the user data tell which.
func TestRingWraps(t *testing.T) {
	r := newRing(t, 8)
	if len(r.sq.entries) != 8 || len(r.cq.entries) != 16 {
		t.Fatalf("%d SQEs, %d CQEs", len(r.sq.entries), len(r.cq.entries))
	}
	next := uint64(1)
	for round := range 50 {
		n := round%8 + 1
		submit(t, r, next, n)
		cqes := make([]CQE, 16)
		if got := r.Completions(cqes); got != n {
			t.Fatalf("round %d: %d of %d completed", round, got, n)
		}
		var sum uint64
		for _, c := range cqes[:n] {
			if c.Res != 0 {
				t.Errorf("NOP %d: %d", c.UserData, c.Res)
			}
			sum += c.UserData - next + 1
		}
		if sum != uint64(n*(n+1)/2) {
			t.Errorf("round %d: %v", round, cqes[:n])
		}
		next += uint64(n)
	}
	if got := r.Completions(make([]CQE, 1)); got != 0 {
		t.Errorf("%d completions of nothing", got)
	}
	if got, err := r.Enter(); got != 0 || err != nil {
		t.Errorf("%d of nothing accepted, %v", got, err)
	}
}

// TestRingFull: a full SQ takes no more until it is submitted, and completions are taken in parts.
func TestRingFull(t *testing.T) {
	r := newRing(t, 4)
	for i := range uint64(4) {
		if !r.NOP(i) {
			t.Fatalf("full at %d", i)
		}
	}
	if r.NOP(4) {
		t.Error("five SQEs in four")
	}
	if got, err := r.Enter(); got != 4 || err != nil {
		t.Fatal(got, err)
	}
	if !r.NOP(4) {
		t.Error("still full after Enter")
	}
	var three [3]CQE
	if a, b := r.Completions(three[:]), r.Completions(three[:]); a != 3 || b != 1 {
		t.Errorf("%d and %d completions", a, b)
	}
}

// TestRingEventFD: the eventfd is signalled when CQEs are posted, no more often than there are CQEs.
func TestRingEventFD(t *testing.T) {
	r := newRing(t, 16)
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := r.RegisterEventFD(fd); err != nil {
		t.Fatal(err)
	}
	var b [8]byte
	for _, n := range []int{1, 16} {
		submit(t, r, 0, n)
		if _, err := unix.Read(fd, b[:]); err != nil {
			t.Fatalf("after %d NOPs: %v", n, err)
		}
		if signals := binary.NativeEndian.Uint64(b[:]); signals > uint64(n) {
			t.Errorf("%d signals for %d NOPs", signals, n)
		}
		if got := r.Completions(make([]CQE, 32)); got != n {
			t.Errorf("%d of %d completed", got, n)
		}
		if _, err := unix.Read(fd, b[:]); err != unix.EAGAIN {
			t.Errorf("a second read: %v", err)
		}
	}
	if err := r.RegisterEventFD(fd); !errors.Is(err, unix.EBUSY) || !strings.Contains(err.Error(), "IORING_REGISTER_EVENTFD") {
		t.Errorf("a second eventfd: %v", err)
	}
}

// TestRingTwoThreads: one goroutine submits while another takes what completes, and every NOP comes once.
func TestRingTwoThreads(t *testing.T) {
	const n = 20_000
	r := newRing(t, 16)
	room := make(chan struct{}, len(r.cq.entries)) // what is outstanding fits into the CQ
	seen := make([]int, n)
	var taker sync.WaitGroup
	taker.Go(func() {
		var cqes [8]CQE
		for done := 0; done < n && !t.Failed(); {
			got := r.Completions(cqes[:])
			for _, c := range cqes[:got] {
				seen[c.UserData]++
				<-room
			}
			done += got
		}
	})
	for i := range uint64(n) {
		room <- struct{}{}
		fits := r.NOP(i)
		if got, err := r.Enter(); !fits || got != 1 || err != nil {
			t.Errorf("NOP %d: fits: %v, accepted: %d, %v", i, fits, got, err)
			break
		}
	}
	taker.Wait()
	for i, times := range seen {
		if times != 1 {
			t.Errorf("NOP %d completed %d times", i, times)
		}
	}
}

// TestRingErrors: a refusal is of its own type, with the reason; other failures name the operation.
func TestRingErrors(t *testing.T) {
	for _, c := range []struct {
		errno       unix.Errno
		disabled    string
		unavailable bool
		want        string
	}{
		{unix.ENOSYS, "", true, "the kernel has no io_uring"},
		{unix.EPERM, "2", true, "kernel.io_uring_disabled is 2"},
		{unix.EPERM, "0", true, "seccomp"},
		{unix.EPERM, "", true, "seccomp"},
		{unix.ENOMEM, "0", false, "io_uring_setup of 8 entries"},
	} {
		err := setupError(c.errno, 8, c.disabled)
		var unavailable *UnavailableError
		if errors.As(err, &unavailable) != c.unavailable || errors.Is(err, errors.ErrUnsupported) != c.unavailable || !errors.Is(err, c.errno) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v with %q: %v", c.errno, c.disabled, err)
		}
	}
	if _, err := New(0); err == nil {
		t.Error("a ring of no entries")
	}
}
