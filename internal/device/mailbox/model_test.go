package mailbox

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"
)

// TestAgainstModel: each direction is a queue of messages that holds as many
// bytes as its ring.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		host, guest, _ := pair(t)
		type direction struct {
			from, to *Port
			typ      Type
			size     int
			queue    [][]byte
			used     int
		}
		dirs := []*direction{
			{from: guest, to: host, typ: Report, size: guestRingSize},
			{from: host, to: guest, typ: Job, size: hostRingSize},
		}
		pick := func(r *rapid.T) *direction { return rapid.SampledFrom(dirs).Draw(r, "direction") }
		r.Repeat(map[string]func(*rapid.T){
			"send": func(r *rapid.T) {
				d := pick(r)
				// One frame: a longer message may end between two, see TestSendWaits.
				n := rapid.IntRange(0, d.from.out.maxSend()).Draw(r, "length")
				payload := bytes.Repeat([]byte{rapid.Byte().Draw(r, "fill")}, n)
				err := d.from.Send(d.typ, payload)
				if fits := d.used+headerSize+n <= d.size; fits != (err == nil) || err != nil && !errors.Is(err, ErrFull) {
					r.Fatalf("sending %d bytes with %d of %d used: %v", n, d.used, d.size, err)
				}
				if err == nil {
					d.queue = append(d.queue, payload)
					d.used += headerSize + n
				}
			},
			"receive": func(r *rapid.T) {
				d := pick(r)
				m, ok, err := d.to.Receive()
				if err != nil || ok != (len(d.queue) > 0) {
					r.Fatalf("Receive: %v, %v with %d messages under way", ok, err, len(d.queue))
				}
				if !ok {
					return
				}
				if m.Type != d.typ || !bytes.Equal(m.Payload, d.queue[0]) {
					r.Fatalf("received %v of %d bytes, want %v of %d", m.Type, len(m.Payload), d.typ, len(d.queue[0]))
				}
				d.used -= headerSize + len(d.queue[0])
				d.queue = d.queue[1:]
			},
		})
	})
}
