package usernet

import (
	"bytes"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// ackDelay is how long an acknowledgment waits for data that carries it along: Linux's least (TCP_DELACK_MIN).
const ackDelay = 40 * time.Millisecond

// smallAck is how much new data an acknowledgment may speak of to be delayed: less than a full segment on Ethernet. What speaks of more is
// part of a stream, whose sender waits for it.
const smallAck = 1448

// patienceLost is for how many small acknowledgments a flow is answered at once after one waited in vain: the host's side does not speak in
// turns then, and the guest's may be waiting before it sends more (RFC 896).
const patienceLost = 16

// delayedAck delays acknowledgments of one queue as TCP does between hosts (RFC 9293, 3.8.6.3). The stack acknowledges everything at
// once; a guest that talks in turns with the host would be interrupted twice for each answer. There is place for one.
//
// Who holds the packet owns it: it is only ever taken by a swap.
type delayedAck struct {
	packet atomic.Pointer[stack.PacketBuffer]
	since  atomic.Int64 // when it came, in nanoseconds since start
	armed  atomic.Bool  // the timer runs
	timer  *time.Timer
	start  time.Time
	table  [256]atomic.Uint64 // of ackState, by flow
}

// ackState is what is known of a flow: its tag, for how many small acknowledgments patience is lost, and what was acknowledged last. Flows
// whose hashes meet replace each other's, which costs only a delay or the lack of it.
type ackState uint64

func newAckState(tag uint16, impatient uint16, acked uint32) ackState {
	return ackState(tag)<<48 | ackState(impatient)<<32 | ackState(acked)
}

func (s ackState) tag() uint16       { return uint16(s >> 48) }
func (s ackState) impatient() uint16 { return uint16(s >> 32) }
func (s ackState) acked() uint32     { return uint32(s) }

// init is before first use; flush puts what waited too long into the queue.
func (d *delayedAck) init(flush func()) {
	d.start = time.Now()
	d.timer = time.AfterFunc(time.Hour, flush)
	d.timer.Stop()
}

func (d *delayedAck) now() int64 { return int64(time.Since(d.start)) }

// flow is where a flow's state is, and its tag, which is never 0.
func (d *delayedAck) flow(p *stack.PacketBuffer) (*atomic.Uint64, uint16) {
	ip, tcp := header.IPv4(p.NetworkHeader().Slice()), header.TCP(p.TransportHeader().Slice())
	dst := ip.DestinationAddressSlice()
	src := ip.SourceAddressSlice()
	h := uint32(tcp.SourcePort())<<16 | uint32(tcp.DestinationPort())
	for i := range 4 {
		h ^= uint32(src[i]^dst[i]) << (8 * i)
	}
	h *= 0x9e3779b1
	return &d.table[h>>24], uint16(h>>8) | 1
}

// sameFlow compares two packets to the guest.
func sameFlow(a, b *stack.PacketBuffer) bool {
	ipA, ipB := header.IPv4(a.NetworkHeader().Slice()), header.IPv4(b.NetworkHeader().Slice())
	tcpA, tcpB := header.TCP(a.TransportHeader().Slice()), header.TCP(b.TransportHeader().Slice())
	const ports = 4
	return bytes.Equal(ipA.SourceAddressSlice(), ipB.SourceAddressSlice()) && bytes.Equal(ipA.DestinationAddressSlice(), ipB.DestinationAddressSlice()) &&
		bytes.Equal(tcpA[:ports], tcpB[:ports])
}

// isSegment says whether a packet to the guest is a whole TCP segment.
func isSegment(p *stack.PacketBuffer) bool {
	if p.NetworkProtocolNumber != header.IPv4ProtocolNumber || len(p.TransportHeader().Slice()) < header.TCPMinimumSize {
		return false
	}
	ip := header.IPv4(p.NetworkHeader().Slice())
	return len(ip) >= header.IPv4MinimumSize && ip.TransportProtocol() == header.TCPProtocolNumber && !ip.More() && ip.FragmentOffset() == 0
}

// hold looks at a packet that is about to go to the guest. It keeps it, with a reference of its own, or returns false. What it returns beside
// has to go first, and is the caller's.
func (d *delayedAck) hold(p *stack.PacketBuffer) (held bool, first *stack.PacketBuffer) {
	if !isSegment(p) {
		return false, nil
	}
	tcp := header.TCP(p.TransportHeader().Slice())
	ack := tcp.AckNumber()
	state, tag := d.flow(p)
	s := ackState(state.Load())
	impatient := uint16(0)
	if s.tag() == tag {
		impatient = s.impatient()
	}
	pure := tcp.Flags() == header.TCPFlagAck && p.Data().Size() == 0
	news := ack - s.acked()
	small := s.tag() == tag && news > 0 && news < smallAck
	if pure && small && impatient == 0 {
		// acked stays: two small segments together may be a full one.
		d.since.Store(d.now())
		first = d.packet.Swap(p.IncRef())
		if d.armed.CompareAndSwap(false, true) {
			d.timer.Reset(ackDelay)
		}
		if first != nil && sameFlow(first, p) { // the later one says it all
			first.DecRef()
			first = nil
		}
		return true, first
	}
	if pure && small {
		impatient--
	}
	state.Store(uint64(newAckState(tag, impatient, ack)))
	if d.packet.Load() == nil {
		return false, nil
	}
	if first = d.packet.Swap(nil); first != nil && sameFlow(first, p) {
		first.DecRef() // p carries it along
		first = nil
	}
	return false, first
}

// expire returns the packet that has waited long enough, if there is one; it is the caller's. The timer calls for it.
func (d *delayedAck) expire() *stack.PacketBuffer {
	d.armed.Store(false)
	if left := ackDelay - time.Duration(d.now()-d.since.Load()); left > 0 && d.packet.Load() != nil {
		if d.armed.CompareAndSwap(false, true) {
			d.timer.Reset(left)
		}
		return nil
	}
	p := d.packet.Swap(nil)
	if p != nil {
		state, tag := d.flow(p)
		state.Store(uint64(newAckState(tag, patienceLost, header.TCP(p.TransportHeader().Slice()).AckNumber())))
	}
	return p
}

// close drops what waits. Nobody holds anything afterwards.
func (d *delayedAck) close() {
	d.timer.Stop()
	if p := d.packet.Swap(nil); p != nil {
		p.DecRef()
	}
}
