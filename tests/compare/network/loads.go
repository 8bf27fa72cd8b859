package network

import (
	"context"
	"fmt"

	"doorbell/internal/traffic"
)

// load is one kind of traffic.
type load struct {
	name string
	unit string // of its rate
	// throughput: its rate is one that doorbell makes promises about.
	throughput bool
	run        func(context.Context, *traffic.Guest, *Sizes) (carried, error)
}

// carried is what a load did.
type carried struct {
	rate float64
	// packets are those of the load itself, as a link without offloads would have them: segments of TCP's full size, requests and
	// responses, datagrams. They do not depend on how a VMM cuts a stream up, nor on acknowledgments.
	packets float64
}

// segment is the payload of a TCP segment on Ethernet, with timestamps.
const segment = 1448

var loads = []load{
	{"TCP stream up", "MiB/s", true, func(ctx context.Context, g *traffic.Guest, s *Sizes) (carried, error) {
		return stream(g.StreamUp(ctx, traffic.StreamOptions{BytesPerFlow: s.Stream << 20}))
	}},
	{"TCP stream down", "MiB/s", true, func(ctx context.Context, g *traffic.Guest, s *Sizes) (carried, error) {
		return stream(g.StreamDown(ctx, traffic.StreamOptions{BytesPerFlow: s.Stream << 20}))
	}},
	{"TCP request/response, 1 byte", "1/s", false, func(ctx context.Context, g *traffic.Guest, s *Sizes) (carried, error) {
		r, err := g.RoundTrips(ctx, traffic.RoundTripOptions{Count: s.Trips, Bytes: 1})
		return carried{r.PerSecond(), 2 * float64(s.Trips)}, err
	}},
	{"UDP up, 64 bytes", "1/s", false, func(ctx context.Context, g *traffic.Guest, s *Sizes) (carried, error) {
		return packets(g.PacketsUp(ctx, traffic.PacketOptions{PerFlow: s.Packets, Bytes: 64}))
	}},
	{"UDP down, 64 bytes", "1/s", false, func(ctx context.Context, g *traffic.Guest, s *Sizes) (carried, error) {
		return packets(g.PacketsDown(ctx, traffic.PacketOptions{PerFlow: s.Packets, Bytes: 64}))
	}},
}

func stream(r traffic.StreamResult, err error) (carried, error) {
	if err != nil {
		return carried{}, err
	}
	return carried{r.BytesPerSecond() / (1 << 20), float64(r.Bytes) / segment}, nil
}

// packets counts the datagrams that arrived: those that a full queue loses on the way cost the guest nothing.
func packets(r traffic.PacketResult, err error) (carried, error) {
	switch {
	case err != nil:
		return carried{}, err
	case r.Received < 2:
		return carried{}, fmt.Errorf("%d of %d datagrams arrived", r.Received, r.Sent)
	}
	return carried{r.PerSecond(), float64(r.Received)}, nil
}
