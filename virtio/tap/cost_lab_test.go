//go:build lab

package tap

import (
	"fmt"
	"testing"

	"doorbell/virtio/backend"
)

func TestAllocatesNothing(t *testing.T) {
	r := newRig(t, 1)
	frame := withHeader(backend.Header{}, udpFrame(9, make([]byte, 1000), false))
	q := r.Queue(0)
	for range 210 {
		r.inject(r.index, r.sign(udpFrame(9, make([]byte, 1000), false)))
	}
	before := q.Counters().ToGuest.Packets.Load()
	if n := testing.AllocsPerRun(200, func() {
		q.Transmit(frame)
		q.Receive(r.bufs)
	}); n != 0 {
		t.Errorf("%v allocations per frame out and frame in", n)
	}
	if n := q.Counters().ToGuest.Packets.Load() - before; n != 201 {
		t.Errorf("%d frames received", n)
	}
	for q.Receive(r.bufs) > 0 {
	}
	short := [][]byte{make([]byte, 100)}
	for range 110 {
		r.inject(r.index, r.sign(udpFrame(9, make([]byte, 1000), false)))
	}
	if n := testing.AllocsPerRun(100, func() {
		q.Receive(short)
		q.Transmit(nil)
	}); n != 0 {
		t.Errorf("%v allocations per drop", n)
	}
}

// Frames to a port that nobody listens on: the whole way through the host's network stack is in the figure.
func BenchmarkTransmit(b *testing.B) {
	r := newRig(b, 1)
	for _, size := range []int{22, 1458} {
		b.Run(fmt.Sprint(size+42), func(b *testing.B) {
			frame := withHeader(backend.Header{}, udpFrame(9, make([]byte, size), false))
			b.ReportAllocs()
			b.SetBytes(int64(size + 42))
			for b.Loop() {
				r.Queue(0).Transmit(frame)
			}
		})
	}
}

func BenchmarkReceive(b *testing.B) {
	r := newRig(b, 1)
	for _, size := range []int{22, 1458} {
		b.Run(fmt.Sprint(size+42), func(b *testing.B) {
			frame := udpFrame(9, make([]byte, size), false)
			b.ReportAllocs()
			b.SetBytes(int64(size + 42))
			for b.Loop() {
				for r.Queue(0).Receive(r.bufs) == 0 {
					b.StopTimer()
					for range 400 {
						r.inject(r.index, frame)
					}
					b.StartTimer()
				}
			}
		})
	}
	b.Run("nothing", func(b *testing.B) {
		for r.Queue(0).Receive(r.bufs) > 0 {
		}
		b.ReportAllocs()
		for b.Loop() {
			r.Queue(0).Receive(r.bufs)
		}
	})
}
