package netdev

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"runtime"
	"time"

	"doorbell/virtio/backend"
)

func (q *vq) address(token int) uint64 { return q.base + ringSize + uint64(token*q.slot) }

func (q *vq) buffer(token int) []byte {
	at := q.address(token)
	return q.g.ram[at : at+uint64(q.slot)]
}

func (q *vq) kick() {
	if q.needsKick() {
		q.g.write(notifyAt+4*uint64(q.index), 2, uint64(q.index))
	}
}

// take takes a free buffer.
func (q *vq) take() (token int, ok bool) {
	if len(q.tokens) == 0 {
		return 0, false
	}
	token = q.tokens[0]
	q.tokens = q.tokens[1:]
	return token, true
}

// refill gives the device all free receive buffers.
func (q *vq) refill() {
	for len(q.tokens) > 0 {
		n := q.g.s.receiveSize
		if len(q.sizes) > 0 {
			n = q.sizes[q.tokens[0]%len(q.sizes)]
		}
		if !q.add(q.tokens[0], []part{{q.address(q.tokens[0]), uint32(n), true}}) {
			break
		}
		q.tokens = q.tokens[1:]
	}
	q.kick()
}

// headerLen is that of the driver's virtio headers.
func (g *guest) headerLen() int { return headerLen(g.features) }

// post puts a frame, virtio header first, into a transmit ring, in parts of at most max bytes; it kicks if the device wants that.
func (q *vq) post(frame []byte, max int) bool {
	for {
		token, _, ok := q.reap()
		if !ok {
			break
		}
		q.tokens = append(q.tokens, token)
	}
	token, ok := q.take()
	if !ok {
		return false
	}
	copy(q.buffer(token), frame)
	var parts []part
	for at := 0; at < len(frame); at += max {
		parts = append(parts, part{q.address(token) + uint64(at), uint32(min(max, len(frame)-at)), false})
	}
	if !q.add(token, parts) {
		q.tokens = append(q.tokens, token)
		return false
	}
	q.kick()
	return true
}

// send posts a frame without a virtio header on a pair's transmit queue, waiting for room.
func (g *guest) send(pair int, frame []byte) {
	g.tb.Helper()
	full := append(make([]byte, g.headerLen()), frame...)
	q := g.queues[2*pair+1]
	g.until("a transmit buffer is free", func() bool { return q.post(full, 5000) })
}

// received is one frame that the driver got.
type received struct {
	header backend.Header
	hash   uint32
	report uint16
	frame  []byte
	chains int
}

// poll takes the next frame off a pair's receive queue, if there is one, and gives its buffers back.
func (g *guest) poll(pair int) (r received, ok bool) {
	g.tb.Helper()
	q := g.queues[2*pair]
	token, written, ok := q.reap()
	if !ok {
		return r, false
	}
	data := bytes.Clone(q.buffer(token)[:written])
	q.tokens = append(q.tokens, token)
	var raw [backend.HeaderLen]byte
	if copy(raw[:], data); len(data) < g.headerLen() {
		g.tb.Fatalf("pair %d: a frame of %d bytes", pair, len(data))
	}
	r.header.Get(&raw)
	if g.features&FeatureHashReport != 0 {
		r.hash, r.report = binary.LittleEndian.Uint32(data[12:]), binary.LittleEndian.Uint16(data[16:])
	}
	for r.chains = 1; r.chains < int(r.header.NumBuffers); r.chains++ {
		token, written, ok := q.reap()
		if !ok {
			g.tb.Fatalf("pair %d: %d buffers of %d", pair, r.chains, r.header.NumBuffers)
		}
		data = append(data, q.buffer(token)[:written]...)
		q.tokens = append(q.tokens, token)
	}
	r.frame = data[g.headerLen():]
	q.enableInterrupts()
	q.refill()
	return r, true
}

// receive waits for the next frame.
func (g *guest) receive(pair int) (r received) {
	g.tb.Helper()
	g.until("a frame has come", func() (ok bool) { r, ok = g.poll(pair); return ok })
	return r
}

// command sends a control command and returns the answer.
func (g *guest) command(class, number byte, data []byte, room int) (ack byte, result []byte) {
	g.tb.Helper()
	q := g.control
	token, _ := q.take()
	b := q.buffer(token)
	b[0], b[1] = class, number
	n := 2 + copy(b[2:], data)
	at := q.address(token)
	b[n] = 0xff
	parts := []part{{at, 2, false}}
	if len(data) > 0 {
		parts = append(parts, part{at + 2, uint32(len(data)), false})
	}
	parts = append(parts, part{at + uint64(n), 1, true})
	if room > 0 {
		parts = append(parts, part{at + uint64(n) + 1, uint32(room), true})
	}
	q.add(token, parts)
	q.kick()
	var written uint32
	g.until("the command is answered", func() (ok bool) { _, written, ok = q.reap(); return ok })
	q.tokens = append(q.tokens, token)
	return b[n], bytes.Clone(b[n+1 : n+int(written)])
}

// do sends a command that must succeed.
func (g *guest) do(class, number byte, data ...byte) {
	g.tb.Helper()
	if ack, _ := g.command(class, number, data, 0); ack != ackOK {
		g.tb.Fatalf("command %d.%d %x is answered with %d", class, number, data, ack)
	}
}

// refused sends a command that must fail.
func (g *guest) refused(class, number byte, data ...byte) {
	g.tb.Helper()
	if ack, _ := g.command(class, number, data, 0); ack != ackErr {
		g.tb.Fatalf("command %d.%d %x is answered with %d", class, number, data, ack)
	}
}

// patience is beyond what the busiest machine needs: it only ends tests that would hang.
const patience = time.Minute

// until waits for a condition.
func (g *guest) until(what string, ok func() bool) {
	g.tb.Helper()
	until(g.tb, what, func() bool { return ok() }, func() string { return fmt.Sprint(g.observed()) })
}

func until(tb tester, what string, ok func() bool, more func() string) {
	tb.Helper()
	for start := time.Now(); !ok(); runtime.Gosched() {
		if time.Since(start) > patience {
			buf := make([]byte, 1<<20)
			tb.Fatalf("never: %s %s\n%s", what, more(), buf[:runtime.Stack(buf, true)])
		}
	}
}

func le16(v uint16) []byte { return binary.LittleEndian.AppendUint16(nil, v) }
func le32(v ...uint32) (b []byte) {
	for _, v := range v {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}
func le64(v uint64) []byte { return binary.LittleEndian.AppendUint64(nil, v) }
