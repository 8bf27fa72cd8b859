package traffic

import (
	"context"
	"time"

	"doorbell/internal/traffic/wire"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// question is a request over UDP that has no answer yet.
type question struct {
	sequence uint32
	asked    time.Time
	left     int // questions of the flow, with this one
}

func (g *Guest) roundTripsUDP(ctx context.Context, o *RoundTripOptions, t *wire.RoundTrips) (RoundTripResult, error) {
	d, err := g.openDatagrams(&t.Flows)
	if err != nil {
		return RoundTripResult{}, err
	}
	defer d.Close()
	call, err := g.start(&wire.Task{RoundTrips: t})
	if err != nil {
		return RoundTripResult{}, err
	}
	r := RoundTripResult{}
	h := newHistogram()
	if err = d.greet(ctx, call, &o.Placement); err == nil {
		start := time.Now()
		r.Lost, err = d.ask(ctx, call, o, h)
		r.Duration = time.Since(start)
	}
	if err == nil {
		err = call.sent(0)
	}
	answer, err := call.finish(ctx, err)
	if err != nil {
		return RoundTripResult{}, err
	}
	r.Latency, r.Flows = summary(h), answer.Flows
	return r, nil
}

// ask keeps one question of each flow under way, in one goroutine: what waits for the answer to one need not be woken for another.
func (d *datagrams) ask(ctx context.Context, c *call, o *RoundTripOptions, h *hdrhistogram.Histogram) (lost uint64, err error) {
	questions := make([]question, len(d.peers))
	b := make([]byte, o.Bytes)
	send := func(flow int) error {
		q := &questions[flow]
		wire.Datagram{Key: d.key, Flow: uint16(flow), Type: wire.DatagramData, Sequence: q.sequence}.Put(b)
		q.asked = time.Now()
		return d.send(flow, b)
	}
	for i := range questions {
		questions[i].left = o.Count
		if err := send(i); err != nil {
			return lost, err
		}
	}
	answer := make([]byte, o.Bytes+1)
	open := len(questions)
	// next asks a flow's next question, if there is one.
	next := func(flow int) error {
		q := &questions[flow]
		q.sequence++
		if q.left--; q.left == 0 {
			open--
			return nil
		}
		return send(flow)
	}
	for looked := time.Now(); open > 0; {
		header, n, ok, err := d.next(answer)
		now := time.Now()
		if err != nil {
			return lost, err
		}
		if ok && n == o.Bytes && header.Type == wire.DatagramData {
			if q := &questions[header.Flow]; q.left > 0 && q.sequence == header.Sequence {
				record(h, now.Sub(q.asked))
				if err := next(int(header.Flow)); err != nil {
					return lost, err
				}
			}
		}
		if now.Sub(looked) < tick {
			continue
		}
		looked = now
		if err := c.goingOn(ctx); err != nil {
			return lost, err
		}
		for i := range questions {
			if q := &questions[i]; q.left > 0 && now.Sub(q.asked) >= o.Timeout {
				lost++
				if err := next(i); err != nil {
					return lost, err
				}
			}
		}
	}
	return lost, nil
}
