//go:build lab

package tap

import (
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"doorbell/virtio/backend"

	"golang.org/x/sys/unix"
)

// load uses both directions of every queue without pause until stop is called.
func load(b *Tap) (moved *atomic.Int64, stop func()) {
	frame := withHeader(backend.Header{}, udpFrame(9, []byte("x"), false))
	moved = new(atomic.Int64)
	var group sync.WaitGroup
	var stopped atomic.Bool
	for i := range b.Queues() {
		bufs := [][]byte{make([]byte, backend.MaxFrame)}
		for _, f := range []func(){func() { b.Queue(i).Transmit(frame) }, func() { b.Queue(i).Receive(bufs) }} {
			group.Go(func() {
				for !stopped.Load() {
					f()
					moved.Add(1)
				}
			})
		}
	}
	return moved, func() { stopped.Store(true); group.Wait() }
}

func TestCloseUnderLoad(t *testing.T) {
	newTap(t, "tap0", unix.IFF_MULTI_QUEUE)
	before, goroutines := descriptors(t), runtime.NumGoroutine()
	for range 20 {
		b, err := Open(Config{Name: "tap0", Queues: 2})
		if err != nil {
			t.Fatal(err)
		}
		if err := b.SetActive(2); err != nil {
			t.Fatal(err)
		}
		moved, stop := load(b)
		for moved.Load() < 200 {
			runtime.Gosched()
		}
		if err := errors.Join(b.Close(), b.Close()); err != nil {
			t.Error(err)
		}
		stop()
		if b.SetActive(1) == nil || b.SetOffloads(0) == nil || b.SetSteering(nil) == nil {
			t.Error("a closed tap takes requests")
		}
	}
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
	for runtime.NumGoroutine() > goroutines { // the test's own may be ending
		runtime.Gosched()
	}
}

// The interface is deleted while it is used: nothing spins, nothing leaks, everything says so.
func TestDeletedUnderLoad(t *testing.T) {
	l := ask(t)
	for _, active := range []int{1, 3} {
		made := newTap(t, "tap0", unix.IFF_MULTI_QUEUE)
		before := descriptors(t)
		b := open(t, "tap0", 3)
		if err := b.SetActive(active); err != nil {
			t.Fatal(err)
		}
		poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			e := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}
			if err := unix.EpollCtl(poll, unix.EPOLL_CTL_ADD, b.Queue(i).FD(), &e); err != nil {
				t.Fatal(err)
			}
		}
		moved, stop := load(b)
		for moved.Load() < 200 {
			runtime.Gosched()
		}
		if err := remove(l, made.index); err != nil {
			t.Fatal(err)
		}
		for i := range 3 { // a queue learns of it by Transmit or Receive
			lost := func() uint64 { return b.Queue(i).Counters().Drops().Load(backend.DropClosed) }
			for had := lost(); lost() == had; {
				runtime.Gosched()
			}
		}
		stop()
		for i := range 3 {
			b.Queue(i).Receive([][]byte{make([]byte, 2000)})
			p := []unix.PollFd{{Fd: int32(b.Queue(i).FD()), Events: unix.POLLIN}}
			if n, err := unix.Poll(p, 0); n != 0 || err != nil {
				t.Errorf("queue %d polls %#x, %v", i, p[0].Revents, err)
			}
			closed := b.Queue(i).Counters().Drops().Load(backend.DropClosed)
			b.Queue(i).Transmit(withHeader(backend.Header{}, udpFrame(9, nil, false)))
			if d := b.Queue(i).Counters().Drops(); d.Load(backend.DropClosed) != closed+1 || d.Load(backend.DropMalformed) != 0 {
				t.Errorf("queue %d: drops %v", i, d.ByReason())
			}
		}
		if n, err := unix.EpollWait(poll, make([]unix.EpollEvent, 8), 0); n != 0 || err != nil {
			t.Errorf("epoll has %d events, %v", n, err)
		}
		unix.Close(poll)
		const want = "tap tap0: the interface was deleted while in use; make it again and restart the machine: ip tuntap add dev tap0 mode tap multi_queue"
		for _, err := range []error{b.SetActive(4 - active), b.SetOffloads(backend.Checksum), b.SetSteering(steerings(t)[0])} {
			if err == nil || !strings.HasSuffix(err.Error(), want) || !errors.Is(err, unix.EBADFD) {
				t.Errorf("%v", err)
			}
		}
		if w := b.Warning(); w != want || b.MTU() != 0 {
			t.Errorf("MTU %d, %q", b.MTU(), w)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if after := descriptors(t); after != before {
			t.Errorf("%d descriptors, %d before", after, before)
		}
	}
}

// An interface that is deleted before anybody notices: the same errors.
func TestDeletedUnnoticed(t *testing.T) {
	l := ask(t)
	for _, f := range []func(b *Tap) error{
		func(b *Tap) error { return b.SetActive(2) }, func(b *Tap) error { return b.SetOffloads(backend.Checksum) },
		func(b *Tap) error { return b.SetSteering(steerings(t)[0]) },
	} {
		made := newTap(t, "tap0", unix.IFF_MULTI_QUEUE)
		b := open(t, "tap0", 2)
		if err := remove(l, made.index); err != nil {
			t.Fatal(err)
		}
		if err := f(b); !errors.Is(err, unix.EBADFD) || !strings.Contains(err.Error(), "deleted while in use") {
			t.Errorf("%v", err)
		}
		b.Close()
	}
}
