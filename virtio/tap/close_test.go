package tap

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"doorbell/virtio/backend"

	"golang.org/x/sys/unix"
)

func TestAllocatesNothing(t *testing.T) {
	newTap(t, "t0", unix.IFF_MULTI_QUEUE)
	b := open(t, "t0", 1)
	frame := withHeader(backend.Header{}, udpFrame(9, make([]byte, 1000), false))
	bufs := [][]byte{make([]byte, backend.MaxFrame)}
	if n := testing.AllocsPerRun(1000, func() {
		b.Queue(0).Transmit(frame)
		b.Queue(0).Receive(bufs)
	}); n > 0.1 {
		t.Errorf("%v allocations per pair of calls", n)
	}
}

func TestCloseUnderLoad(t *testing.T) {
	newTap(t, "t0", unix.IFF_MULTI_QUEUE)
	before := descriptors(t)
	for range 20 {
		b, err := Open("t0", 2)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.SetActive(2); err != nil {
			t.Fatal(err)
		}
		frame := withHeader(backend.Header{}, udpFrame(9, []byte("x"), false))
		var moved atomic.Int64
		var group sync.WaitGroup
		stop := make(chan struct{})
		for i := range 2 {
			bufs := [][]byte{make([]byte, backend.MaxFrame)}
			for _, f := range []func(){func() { b.Queue(i).Transmit(frame) }, func() { b.Queue(i).Receive(bufs) }} {
				group.Add(1)
				go func() {
					defer group.Done()
					for {
						f()
						moved.Add(1)
						select {
						case <-stop:
							return
						default:
						}
					}
				}()
			}
		}
		for moved.Load() < 200 {
			runtime.Gosched()
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		close(stop)
		group.Wait()
		if b.SetActive(1) == nil || b.SetOffloads(0) == nil || b.SetSteering(nil) == nil {
			t.Error("a closed tap takes requests")
		}
	}
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
}

func BenchmarkTransmit(b *testing.B) {
	newTap(b, "t0", unix.IFF_MULTI_QUEUE)
	q := open(b, "t0", 1).Queue(0)
	for _, size := range []int{1, 1400} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			frame := withHeader(backend.Header{}, udpFrame(9, make([]byte, size), false))
			b.ReportAllocs()
			for b.Loop() {
				q.Transmit(frame)
			}
		})
	}
}
