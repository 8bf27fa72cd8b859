package usernet

import (
	"testing"

	"doorbell/virtio/backend"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// The way between the guest's memory and the stack's queues allocates nothing that is not pooled.
func TestQueuesAllocateNothing(t *testing.T) {
	l := &link{mtu: 1500}
	q := &queue{link: l, gate: backend.NewGate(), ring: newRing(16, 1<<20)}
	l.queues = []*queue{q, q} // two, so that the flow table is used
	l.active.Store(2)
	l.offloads.Store(uint32(offloads))
	frame := tcpFrame(1, gatewayAddr, 2, "A")
	var raw [backend.HeaderLen]byte
	list := [][]byte{raw[:], frame}
	bufs := [][]byte{make([]byte, 4096), make([]byte, 4096)}
	p := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(frame)})
	p.LinkHeader().Consume(14)
	p.NetworkHeader().Consume(20)
	p.TransportHeader().Consume(20)
	p.NetworkProtocolNumber = header.IPv4ProtocolNumber
	var pkts stack.PacketBufferList
	pkts.PushBack(p)
	limit := 1.0
	if raceEnabled {
		limit = 20 // the race detector makes pools forget at random
	}
	n := testing.AllocsPerRun(1000, func() {
		q.Transmit(list)
		if _, err := l.WritePackets(pkts); err != nil {
			t.Fatal(err)
		}
		if q.Receive(bufs) != backend.HeaderLen+len(frame) {
			t.Fatal("the frame did not come")
		}
	})
	if n >= limit {
		t.Errorf("%v allocations per pair of frames", n)
	}
}

// The queue for the guest is bounded in frames and in bytes.
func TestQueueBounds(t *testing.T) {
	r := newRing(4, 10000)
	p := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(make([]byte, 3000))})
	for i := range 4 {
		if ok := r.put(p); ok != (i < 3) {
			t.Errorf("packet %d of 3000 bytes: %v", i, ok)
		}
	}
	small := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData([]byte("x"))})
	for i := range 2 {
		if ok := r.put(small); ok != (i < 1) {
			t.Errorf("small packet %d: %v", i, ok)
		}
	}
	for range 4 {
		if r.take() == nil {
			t.Error("a packet is missing")
		}
	}
	if r.take() != nil || r.bytes.Load() != 0 {
		t.Errorf("%d bytes are left", r.bytes.Load())
	}
}
