package guest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"doorbell/internal/traffic/wire"
)

// stream sends or receives over all connections at once.
func (t *task) stream(ctx context.Context, s *wire.Stream) ([]wire.Flow, error) {
	open, done, err := t.open(ctx, &s.Flows)
	if err != nil {
		return nil, fmt.Errorf("stream: %w", err)
	}
	defer done()
	flows, err := each(ctx, &s.Flows, func(ctx context.Context, flow int) (wire.Flow, error) {
		c, err := open(ctx, flow)
		if err != nil {
			return wire.Flow{}, err
		}
		defer c.Close()
		f := wire.Flow{LocalPort: c.port}
		if s.Up {
			err = sendStream(c, s, flow, &f)
		} else {
			err = receiveStream(c, s, &f)
		}
		return f, err
	})
	if err != nil {
		return nil, fmt.Errorf("stream: %w", err)
	}
	return flows, nil
}

// sendStream waits for the controller's byte, sends, and waits until the controller has all of it and closes.
func sendStream(c *socket, s *wire.Stream, flow int, f *wire.Flow) error {
	chunk := make([]byte, s.Chunk)
	if _, err := io.ReadFull(c, chunk[:1]); err != nil {
		return fmt.Errorf("wait for the start: %w", err)
	}
	start := time.Now()
	payload, digest := wire.NewPayload(s.Seed, flow), s.Check.Digest()
	payload.Fill(chunk)
	for first := true; f.Bytes < s.Bytes; first = false {
		piece := chunk[:min(uint64(len(chunk)), s.Bytes-f.Bytes)]
		if !first && s.Check != wire.CheckNone {
			payload.Fill(piece)
		}
		digest.Add(piece)
		n, err := c.Write(piece)
		f.Bytes += uint64(n)
		if err != nil {
			return fmt.Errorf("after %d bytes: %w", f.Bytes, err)
		}
	}
	if n, err := c.Read(chunk[:1]); n != 0 || !errors.Is(err, io.EOF) {
		return fmt.Errorf("after all %d bytes, where the other side closes: %d bytes, %v", f.Bytes, n, err)
	}
	f.DurationNs = time.Since(start).Nanoseconds()
	f.Digest = digest.Text()
	return nil
}

// receiveStream reads until the controller closes, which it must do after the right number of bytes.
func receiveStream(c *socket, s *wire.Stream, f *wire.Flow) error {
	chunk := make([]byte, s.Chunk)
	digest := s.Check.Digest()
	start := time.Now()
	for {
		n, err := c.Read(chunk)
		if f.Bytes == 0 {
			start = time.Now()
		}
		f.Bytes += uint64(n)
		digest.Add(chunk[:n])
		switch {
		case f.Bytes > s.Bytes:
			return fmt.Errorf("more than %d bytes", s.Bytes)
		case errors.Is(err, io.EOF) && f.Bytes == s.Bytes:
			f.DurationNs = time.Since(start).Nanoseconds()
			f.Digest = digest.Text()
			return nil
		case err != nil:
			return fmt.Errorf("after %d of %d bytes: %w", f.Bytes, s.Bytes, err)
		}
	}
}
