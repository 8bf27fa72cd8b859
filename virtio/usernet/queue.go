package usernet

import (
	"doorbell/virtio/backend"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// queue is one queue pair.
type queue struct {
	link     *link
	index    uint32
	gate     *backend.Gate
	ring     *ring
	delayed  delayedAck
	shortcut shortcut
	counters backend.Counters
}

var _ backend.Queue = (*queue)(nil)

// headLen is how much of a long frame gets a buffer of its own: all headers of a TCP segment at their longest. The rest then fits the
// stack's largest pooled buffer, which a whole frame does not.
const headLen = 256

// wholeLen is the length up to which a frame stays in one piece.
const wholeLen = 2048

// Transmit implements backend.Queue: copy the frame, look at the copy, hand it to the stack.
func (q *queue) Transmit(frame [][]byte) {
	if !q.gate.Enter() {
		q.counters.FromGuest.Drops.Add(backend.DropClosed)
		return
	}
	defer q.gate.Leave()
	n := backend.Len(frame)
	if n < backend.HeaderLen+backend.EthernetLen || n > backend.MaxFrame {
		q.counters.FromGuest.Drops.Add(backend.DropMalformed)
		return
	}
	var raw [backend.HeaderLen]byte
	backend.Gather(raw[:], frame, 0)
	var h backend.Header
	h.Get(&raw)
	n -= backend.HeaderLen
	first := n
	if n > wholeLen {
		first = headLen
	}
	head := buffer.NewView(first)
	var rest *buffer.View
	if n > first {
		rest = buffer.NewView(n - first)
	}
	appendFrame(head, rest, first, frame)

	payload := buffer.MakeWithView(head)
	if rest != nil {
		if err := payload.Append(rest); err != nil {
			payload.Release()
			q.counters.FromGuest.Drops.Add(backend.DropMalformed)
			return
		}
	}
	proto, why, ok := inspect(&h, head.AsSlice(), rest.AsSlice())
	if !ok {
		payload.Release()
		q.counters.FromGuest.Drops.Add(why)
		return
	}
	if len(q.link.queues) > 1 {
		q.link.flows.remember(head.AsSlice(), q.index)
	}
	if datagram, ok := plainUDP(head.AsSlice(), string(q.link.address)); ok && q.shortcut.send(q.link.network, head.AsSlice(), datagram) {
		payload.Release()
		q.counters.FromGuest.Add(n + backend.HeaderLen)
		return
	}
	p := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: payload})
	eth, ok := p.LinkHeader().Consume(header.EthernetMinimumSize)
	if !ok {
		p.DecRef()
		q.counters.FromGuest.Drops.Add(backend.DropMalformed)
		return
	}
	p.NetworkProtocolNumber = proto
	p.PktType = packetType(header.Ethernet(eth).DestinationAddress(), q.link.address)
	q.counters.FromGuest.Add(n + backend.HeaderLen)
	q.link.deliver(p)
}

// appendFrame copies a frame without its virtio header: the first bytes to head, the others to rest.
func appendFrame(head, rest *buffer.View, first int, frame [][]byte) {
	skip := backend.HeaderLen
	for _, b := range frame {
		if skip >= len(b) {
			skip -= len(b)
			continue
		}
		b, skip = b[skip:], 0
		if room := first - head.Size(); room > 0 {
			m := min(room, len(b))
			_, _ = head.Write(b[:m])
			b = b[m:]
		}
		if len(b) > 0 && rest != nil {
			_, _ = rest.Write(b)
		}
	}
}

func packetType(dst, own tcpip.LinkAddress) tcpip.PacketType {
	switch {
	case dst == own:
		return tcpip.PacketHost
	case dst == header.EthernetBroadcastAddress:
		return tcpip.PacketBroadcast
	case header.IsMulticastEthernetAddress(dst):
		return tcpip.PacketMulticast
	}
	return tcpip.PacketOtherHost
}

// Receive implements backend.Queue: copy the oldest packet to the guest, with the header that tells what is left to do.
func (q *queue) Receive(bufs [][]byte) int {
	if !q.gate.Enter() {
		return 0
	}
	defer q.gate.Leave()
	room := backend.Len(bufs)
	for {
		p := q.ring.get()
		if p == nil {
			return 0
		}
		n := backend.HeaderLen + p.Size()
		if n > room {
			q.counters.ToGuest.Drops.Add(backend.DropTooLong)
			p.DecRef()
			continue
		}
		var h backend.Header
		fields, ok := finish(&h, p, backend.Offloads(q.link.offloads.Load()))
		if !ok {
			q.counters.ToGuest.Drops.Add(backend.DropOffload)
			p.DecRef()
			continue
		}
		var raw [backend.HeaderLen]byte
		h.Put(&raw)
		backend.Scatter(bufs, 0, raw[:])
		copyPacket(bufs, p)
		fields.window.apply(bufs)
		fields.sum.apply(bufs)
		p.DecRef()
		q.counters.ToGuest.Add(n)
		return n
	}
}

// copyPacket copies p behind the virtio header.
func copyPacket(bufs [][]byte, p *stack.PacketBuffer) {
	views, skip := p.AsViewList()
	at := backend.HeaderLen // where in bufs[0] the next byte goes
	for v := views.Front(); v != nil; v = v.Next() {
		b := v.AsSlice()
		if skip >= len(b) {
			skip -= len(b)
			continue
		}
		b, skip = b[skip:], 0
		for len(b) > 0 {
			for at >= len(bufs[0]) {
				at -= len(bufs[0])
				bufs = bufs[1:]
			}
			m := copy(bufs[0][at:], b)
			at += m
			b = b[m:]
		}
	}
}

// send puts a packet into the ring, or lets it wait there for another.
func (q *queue) send(p *stack.PacketBuffer) tcpip.Error {
	if !q.gate.Enter() {
		q.counters.ToGuest.Drops.Add(backend.DropClosed)
		return &tcpip.ErrClosedForSend{}
	}
	defer q.gate.Leave()
	held, first := q.delayed.hold(p)
	if first != nil {
		q.put(first)
		first.DecRef()
	}
	if !held && !q.put(p) {
		return &tcpip.ErrNoBufferSpace{}
	}
	return nil
}

// put puts a packet into the ring; the caller is inside the gate.
func (q *queue) put(p *stack.PacketBuffer) bool {
	ok := q.ring.put(p)
	if !ok {
		q.counters.ToGuest.Drops.Add(backend.DropQueueFull)
	}
	return ok
}

// flush sends the acknowledgment that has waited in vain.
func (q *queue) flush() {
	if !q.gate.Enter() {
		return
	}
	defer q.gate.Leave()
	if p := q.delayed.expire(); p != nil {
		q.put(p)
		p.DecRef()
	}
}

// FD implements backend.Queue.
func (*queue) FD() int { return -1 }

// Notify implements backend.Queue.
func (q *queue) Notify(f func()) { q.ring.notify = f }

// Counters implements backend.Queue.
func (q *queue) Counters() *backend.Counters { return &q.counters }

// close ends the queue: nobody is inside afterwards, and nothing waits.
func (q *queue) close() {
	q.gate.Close()
	q.delayed.close()
	for p := q.ring.take(); p != nil; p = q.ring.take() {
		p.DecRef()
	}
}
