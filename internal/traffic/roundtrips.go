package traffic

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"time"

	"doorbell/internal/traffic/wire"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// RoundTripOptions say what to ask.
type RoundTripOptions struct {
	Placement
	// UDP instead of TCP.
	UDP bool
	// Count is the round trips of each flow, one after the other.
	Count int
	// Bytes is the size of a request, and of its response; 0 is 64.
	Bytes int
	// Timeout is when a datagram counts as lost; 0 is a second.
	Timeout time.Duration
}

// A RoundTripResult is what came back.
type RoundTripResult struct {
	Latency Latency
	// Lost are requests over UDP without an answer.
	Lost     uint64
	Duration time.Duration
	Flows    []wire.Flow
}

// PerSecond is the rate of all flows together.
func (r *RoundTripResult) PerSecond() float64 { return float64(r.Latency.Count) / r.Duration.Seconds() }

// RoundTrips asks the guest and waits for each answer, which must be what was asked.
func (g *Guest) RoundTrips(ctx context.Context, o RoundTripOptions) (RoundTripResult, error) {
	if o.Bytes == 0 {
		o.Bytes = 64
	}
	if o.Timeout == 0 {
		o.Timeout = time.Second
	}
	t := &wire.RoundTrips{Flows: o.flows(), UDP: o.UDP, Bytes: o.Bytes}
	if o.Count < 1 || o.Count > wire.MaxRoundTrips {
		return RoundTripResult{}, fmt.Errorf("round trips: %d where 1 to %d may be", o.Count, wire.MaxRoundTrips)
	}
	run := g.roundTrips
	if o.UDP {
		run = g.roundTripsUDP
	}
	r, err := run(ctx, &o, t)
	if err != nil {
		return RoundTripResult{}, fmt.Errorf("round trips: %w", err)
	}
	return r, nil
}

func (g *Guest) roundTrips(ctx context.Context, o *RoundTripOptions, t *wire.RoundTrips) (RoundTripResult, error) {
	arrivals := g.controller.expect(t.Token, t.Flows.Count)
	defer g.controller.forget(t.Token, arrivals)
	call, err := g.start(&wire.Task{RoundTrips: t})
	if err != nil {
		return RoundTripResult{}, err
	}
	all := newHistogram()
	r := RoundTripResult{}
	conns, err := call.connect(ctx, &o.Placement, &t.Flows, arrivals)
	if err == nil {
		histograms := make([]*hdrhistogram.Histogram, len(conns))
		start := time.Now()
		err = call.each(ctx, conns, func(flow int, c net.Conn) error {
			h := newHistogram()
			histograms[flow] = h
			return ask(c, flow, o, h)
		})
		r.Duration = time.Since(start)
		if err == nil {
			for _, h := range histograms {
				all.Merge(h)
			}
		}
	}
	answer, err := call.finish(ctx, err)
	if err != nil {
		return RoundTripResult{}, err
	}
	r.Latency, r.Flows = summary(all), answer.Flows
	return r, nil
}

// ask makes one flow's round trips. It allocates nothing for each.
func ask(c net.Conn, flow int, o *RoundTripOptions, h *hdrhistogram.Histogram) error {
	request, response := make([]byte, o.Bytes), make([]byte, o.Bytes)
	payload := wire.NewPayload(0, flow)
	for n := range o.Count {
		payload.Fill(request[:min(8, len(request))]) // no two are the same
		start := time.Now()
		if _, err := c.Write(request); err != nil {
			return fmt.Errorf("request %d: %w", n, err)
		}
		if _, err := io.ReadFull(c, response); err != nil {
			return fmt.Errorf("response %d: %w", n, err)
		}
		record(h, time.Since(start))
		if !bytes.Equal(request, response) {
			return fmt.Errorf("response %d is not what was asked", n)
		}
	}
	return nil
}
