//go:build lab

package tap

import (
	"encoding/binary"
	"testing"

	"doorbell/virtio/backend"

	"golang.org/x/sys/unix"
)

// Frames appear on the active queues only, on all of them, and a queue that is not active is not readable.
func TestActiveQueues(t *testing.T) {
	r := newRig(t, 4)
	for _, active := range []int{1, 4, 2, 3, 1, 4} {
		if err := r.SetActive(active); err != nil {
			t.Fatal(err)
		}
		seen := map[int]int{}
		for flow := range 60 {
			f := udpFrame(9, nil, false)
			binary.BigEndian.PutUint16(f[34:], uint16(1000+flow*37)) // source port
			r.inject(r.index, r.sign(f))
			queue, _, _ := r.next()
			seen[queue]++
		}
		for i := range seen {
			if i >= active {
				t.Errorf("%d active: a frame on queue %d", active, i)
			}
		}
		if len(seen) != active {
			t.Errorf("%d active: 60 flows used queues %v", active, seen)
		}
		for i := range r.Queues() {
			p := []unix.PollFd{{Fd: int32(r.Queue(i).FD()), Events: unix.POLLIN}}
			if n, err := unix.Poll(p, 0); n != 0 || err != nil {
				t.Errorf("%d active: queue %d polls %#x, %v", active, i, p[0].Revents, err)
			}
			if n := r.Queue(i).Receive(r.bufs); n != 0 {
				t.Errorf("%d active: queue %d has %d bytes", active, i, n)
			}
		}
	}
	if r.SetActive(0) == nil || r.SetActive(5) == nil {
		t.Error("impossible numbers of queues are accepted")
	}
}

// A tap starts with one active queue.
func TestOneActiveAtFirst(t *testing.T) {
	newTap(t, "multi", unix.IFF_MULTI_QUEUE)
	b := open(t, "multi", 3)
	if b.active != 1 || b.Queues() != 3 {
		t.Errorf("%d of %d active", b.active, b.Queues())
	}
}

// A flow that the guest has transmitted on a queue comes back on it.
func TestFlowFollowsTransmission(t *testing.T) {
	r := newRig(t, 4)
	reply := udpFrame(9, nil, false)
	binary.BigEndian.PutUint16(reply[36:], 7000)
	copy(reply[26:], hostIP)
	copy(reply[30:], guestIP)
	for _, queue := range []int{2, 0, 3, 1} {
		port := uint16(20000 + queue) // a flow of its own: the kernel moves one only after a while
		frame := udpFrame(int(port), nil, false)
		binary.BigEndian.PutUint16(reply[34:], port)
		// The kernel learns flows in both directions; it hashes addresses and ports symmetrically.
		r.Queue(queue).Transmit(withHeader(backend.Header{}, frame))
		r.inject(r.index, r.sign(append([]byte(nil), reply...)))
		if got, _, _ := r.next(); got != queue {
			t.Errorf("a flow of queue %d comes on queue %d", queue, got)
		}
	}
}
