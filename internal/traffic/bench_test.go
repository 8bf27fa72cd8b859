package traffic

import (
	"context"
	"testing"

	"doorbell/internal/traffic/guest"
	"doorbell/internal/traffic/wire"
)

// bench is pair for benchmarks: what both ends cost over the loopback interface.
func bench(b *testing.B) (context.Context, *Guest) {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	c, err := Listen("127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- guest.Serve(ctx, c.Addr().String()) }()
	b.Cleanup(func() {
		cancel()
		c.Close()
		<-served
	})
	g, err := c.Accept(ctx)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	return ctx, g
}

// BenchmarkStream is for chunks of 256 KiB.
func BenchmarkStream(b *testing.B) {
	for _, check := range []wire.Check{wire.CheckNone, wire.CheckXor, wire.CheckSHA256} {
		b.Run(string(check), func(b *testing.B) {
			b.SetBytes(defaultChunk)
			ctx, g := bench(b)
			if _, err := g.StreamDown(ctx, StreamOptions{BytesPerFlow: uint64(b.N) * defaultChunk, Check: check}); err != nil {
				b.Fatal(err)
			}
		})
	}
}

func BenchmarkRoundTrips(b *testing.B) {
	for name, udp := range map[string]bool{"tcp": false, "udp": true} {
		b.Run(name, func(b *testing.B) {
			ctx, g := bench(b)
			if _, err := g.RoundTrips(ctx, RoundTripOptions{Count: b.N, UDP: udp}); err != nil {
				b.Fatal(err)
			}
		})
	}
}

func BenchmarkPackets(b *testing.B) {
	for name, run := range map[string]func(*Guest, context.Context, PacketOptions) (PacketResult, error){"up": (*Guest).PacketsUp, "down": (*Guest).PacketsDown} {
		b.Run(name, func(b *testing.B) {
			ctx, g := bench(b)
			r, err := run(g, ctx, PacketOptions{PerFlow: uint64(min(b.N, wire.MaxPackets)), Bytes: 64})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(r.Lost())/float64(r.Sent), "lost/packet")
		})
	}
}
