package usernet

import (
	"testing"
	"time"

	"doorbell/virtio/backend"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// segment makes a packet of the stack's to the guest.
func ackSegment(port uint16, flags header.TCPFlags, ack uint32, payload string) *stack.PacketBuffer {
	p := stack.NewPacketBuffer(stack.PacketBufferOptions{
		ReserveHeaderBytes: backend.EthernetLen + header.IPv4MinimumSize + header.TCPMinimumSize,
		Payload:            buffer.MakeWithData([]byte(payload)),
	})
	p.NetworkProtocolNumber = header.IPv4ProtocolNumber
	header.TCP(p.TransportHeader().Push(header.TCPMinimumSize)).Encode(&header.TCPFields{
		SrcPort: port, DstPort: 1000, AckNum: ack, DataOffset: header.TCPMinimumSize, Flags: flags,
	})
	header.IPv4(p.NetworkHeader().Push(header.IPv4MinimumSize)).Encode(&header.IPv4Fields{
		TotalLength: uint16(header.IPv4MinimumSize + header.TCPMinimumSize + len(payload)), Protocol: uint8(header.TCPProtocolNumber),
		SrcAddr: toStack(gatewayAddr), DstAddr: toStack(guestAddr),
	})
	p.LinkHeader().Push(backend.EthernetLen)
	return p
}

// delayQueue is a queue whose ring a test looks into.
func delayQueue(t *testing.T) *queue {
	q := &queue{link: &link{}, gate: backend.NewGate(), ring: newRing(64, 1<<20)}
	q.delayed.init(func() {}) // the tests are the timer
	t.Cleanup(q.close)
	return q
}

// came checks the acknowledgments that reached the ring.
func (q *queue) came(t *testing.T, want ...uint32) {
	t.Helper()
	for i := 0; ; i++ {
		p := q.ring.take()
		if p == nil {
			if i != len(want) {
				t.Errorf("%d packets, want %v", i, want)
			}
			return
		}
		if got := header.TCP(p.TransportHeader().Slice()).AckNumber(); i >= len(want) || got != want[i] {
			t.Errorf("packet %d acknowledges %d, want %v", i, got, want)
		}
		p.DecRef()
	}
}

func (q *queue) pass(t *testing.T, p *stack.PacketBuffer) {
	t.Helper()
	if err := q.send(p); err != nil {
		t.Errorf("send: %v", err)
	}
	p.DecRef()
}

const (
	pureAck = header.TCPFlagAck
	dataAck = header.TCPFlagAck | header.TCPFlagPsh
)

// A small acknowledgment is carried along by the answer; one of a stream, one that says nothing new and one of another flow are not delayed, nor
// do they delay what is before them.
func TestDelayedAck(t *testing.T) {
	q := delayQueue(t)
	q.pass(t, ackSegment(80, header.TCPFlagSyn|pureAck, 1, ""))
	q.came(t, 1)
	for ack := uint32(2); ack < 10; ack++ {
		q.pass(t, ackSegment(80, pureAck, ack, ""))
		q.came(t)
		q.pass(t, ackSegment(80, dataAck, ack, "answer"))
		q.came(t, ack)
	}
	q.pass(t, ackSegment(80, pureAck, 9, "")) // nothing new
	q.came(t, 9)
	q.pass(t, ackSegment(80, pureAck, 9+smallAck, "")) // a stream's
	q.came(t, 9+smallAck)
	q.pass(t, ackSegment(80, pureAck, 10+smallAck, ""))
	q.pass(t, ackSegment(80, pureAck, 20+smallAck, "")) // speaks for both
	q.came(t)
	q.pass(t, ackSegment(80, pureAck, 10+2*smallAck, "")) // two small ones are a full one
	q.came(t, 10+2*smallAck)
	q.pass(t, ackSegment(81, dataAck, 1, "other"))
	q.came(t, 1)
	q.pass(t, ackSegment(80, pureAck, 11+2*smallAck, ""))
	q.pass(t, ackSegment(81, dataAck, 1, "other"))
	q.came(t, 11+2*smallAck, 1)
}

// What nothing carries along goes when its time is up, and its flow is answered at once for a while.
func TestDelayedAckExpires(t *testing.T) {
	q := delayQueue(t)
	q.pass(t, ackSegment(80, dataAck, 1, "hello"))
	q.pass(t, ackSegment(80, pureAck, 2, ""))
	q.came(t, 1)
	q.flush() // too early: it comes again
	if !q.delayed.armed.Load() {
		t.Error("the timer does not run")
	}
	q.came(t)
	q.delayed.since.Add(-int64(ackDelay))
	q.flush()
	q.came(t, 2)
	q.flush() // nothing waits
	q.came(t)
	for ack := uint32(3); ack < 3+patienceLost; ack++ {
		q.pass(t, ackSegment(80, pureAck, ack, ""))
		q.came(t, ack)
	}
	q.pass(t, ackSegment(80, pureAck, 3+patienceLost, ""))
	q.came(t)
}

// The real timer does what the tests above do by hand.
func TestDelayedAckTimer(t *testing.T) {
	n := newNetwork(t, Config{})
	q := n.link.queues[0]
	arrived := make(chan struct{}, 1)
	q.Notify(func() {
		select {
		case arrived <- struct{}{}:
		default:
		}
	})
	bufs := [][]byte{make([]byte, 4096)}
	next := func() int {
		for {
			if got := q.Receive(bufs); got > 0 {
				return got
			}
			select {
			case <-arrived:
			case <-time.After(10 * time.Second):
				t.Fatal("nothing came")
			}
		}
	}
	q.pass(t, ackSegment(80, dataAck, 1, "hello"))
	q.pass(t, ackSegment(80, pureAck, 2, ""))
	first, second := next(), next()
	if first != second+len("hello") {
		t.Errorf("frames of %d and %d bytes", first, second)
	}
}
