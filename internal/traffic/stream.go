package traffic

import (
	"context"
	"fmt"
	"io"
	"net"
	"time"

	"doorbell/internal/traffic/wire"
)

// StreamOptions say what to send over TCP.
type StreamOptions struct {
	Placement
	// BytesPerFlow is what each connection carries.
	BytesPerFlow uint64
	// Seed makes the contents.
	Seed uint64
	// Check is CheckNone when empty.
	Check wire.Check
	// Chunk is how many bytes are written and read at a time, on both sides; 0 is 256 KiB.
	Chunk int
}

const defaultChunk = 256 << 10

// A StreamResult is a stream that arrived, whole and, as far as was asked, unchanged.
type StreamResult struct {
	Bytes uint64
	// Duration is by this side's clock: from when all connections were there, until the last byte was read, here or by the guest.
	Duration time.Duration
	// Flows is what the guest saw.
	Flows []wire.Flow
}

// BytesPerSecond is the throughput by this side's clock.
func (r *StreamResult) BytesPerSecond() float64 { return float64(r.Bytes) / r.Duration.Seconds() }

// StreamUp has the guest send.
func (g *Guest) StreamUp(ctx context.Context, o StreamOptions) (StreamResult, error) {
	return g.stream(ctx, o, true)
}

// StreamDown sends to the guest.
func (g *Guest) StreamDown(ctx context.Context, o StreamOptions) (StreamResult, error) {
	return g.stream(ctx, o, false)
}

func (g *Guest) stream(ctx context.Context, o StreamOptions, up bool) (StreamResult, error) {
	s := &wire.Stream{Flows: o.flows(), Up: up, Bytes: o.BytesPerFlow, Seed: o.Seed, Check: o.Check, Chunk: o.Chunk}
	if s.Check == "" {
		s.Check = wire.CheckNone
	}
	if s.Chunk == 0 {
		s.Chunk = defaultChunk
	}
	r, err := g.runStream(ctx, &o.Placement, s)
	if err != nil {
		return StreamResult{}, fmt.Errorf("stream %s: %w", direction(up), err)
	}
	return r, nil
}

func direction(up bool) string {
	if up {
		return "up"
	}
	return "down"
}

func (g *Guest) runStream(ctx context.Context, p *Placement, s *wire.Stream) (StreamResult, error) {
	arrivals := g.controller.expect(s.Token, s.Count)
	defer g.controller.forget(s.Token, arrivals)
	call, err := g.start(&wire.Task{Stream: s})
	if err != nil {
		return StreamResult{}, err
	}
	digests := make([]string, s.Count)
	var start time.Time
	r := StreamResult{}
	conns, err := call.connect(ctx, p, &s.Flows, arrivals)
	if err == nil {
		start = time.Now()
		err = call.each(ctx, conns, func(flow int, c net.Conn) error {
			if s.Up {
				return receiveStream(c, s, &digests[flow])
			}
			return sendStream(c, s, flow, &digests[flow])
		})
		r.Duration = time.Since(start)
	}
	answer, err := call.finish(ctx, err)
	if err != nil {
		return StreamResult{}, err
	}
	if !s.Up { // the guest answers when it has read everything
		r.Duration = time.Since(start)
	}
	if len(answer.Flows) != s.Count {
		return StreamResult{}, errNoResult
	}
	for i, f := range answer.Flows {
		r.Bytes += f.Bytes
		switch {
		case f.Bytes != s.Bytes:
			return StreamResult{}, fmt.Errorf("flow %d: the guest has %d of %d bytes", i, f.Bytes, s.Bytes)
		case f.Digest != digests[i]:
			return StreamResult{}, fmt.Errorf("flow %d: the contents differ: digest %s here, %.64s in the guest", i, digests[i], f.Digest)
		}
	}
	r.Flows = answer.Flows
	return r, nil
}

// receiveStream lets the guest begin and reads all of it.
func receiveStream(c net.Conn, s *wire.Stream, digest *string) error {
	chunk := make([]byte, s.Chunk)
	if _, err := c.Write(chunk[:1]); err != nil {
		return err
	}
	d := s.Check.Digest()
	for got := uint64(0); got < s.Bytes; {
		n, err := c.Read(chunk[:min(uint64(len(chunk)), s.Bytes-got)])
		got += uint64(n)
		d.Add(chunk[:n])
		if err != nil && got < s.Bytes {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("after %d of %d bytes: %w", got, s.Bytes, err)
		}
	}
	*digest = d.Text()
	return nil
}

func sendStream(c net.Conn, s *wire.Stream, flow int, digest *string) error {
	chunk := make([]byte, s.Chunk)
	payload, d := wire.NewPayload(s.Seed, flow), s.Check.Digest()
	payload.Fill(chunk)
	for sent := uint64(0); sent < s.Bytes; {
		piece := chunk[:min(uint64(len(chunk)), s.Bytes-sent)]
		if sent > 0 && s.Check != wire.CheckNone {
			payload.Fill(piece)
		}
		d.Add(piece)
		n, err := c.Write(piece)
		sent += uint64(n)
		if err != nil {
			return fmt.Errorf("after %d of %d bytes: %w", sent, s.Bytes, err)
		}
	}
	*digest = d.Text()
	return nil
}
