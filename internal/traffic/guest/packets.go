package guest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"doorbell/internal/traffic/wire"

	"golang.org/x/sys/unix"
)

// quietTicks are how long a receiver that lacks datagrams waits for more, when all have been sent. They are counted, so that a
// pause of the whole guest is one, however long.
const quietTicks = 3

// packets sends or receives datagrams.
func (t *task) packets(ctx context.Context, p *wire.Packets) ([]wire.Flow, error) {
	flows, err := each(ctx, &p.Flows, func(ctx context.Context, flow int) (wire.Flow, error) {
		c, err := t.openUDP(ctx, &p.Flows, flow)
		if err != nil {
			return wire.Flow{}, err
		}
		defer c.Close()
		f := wire.Flow{LocalPort: c.port}
		f.VoluntarySwitches, err = countSwitches(func() error {
			if p.Up {
				return sendPackets(ctx, c, p, flow, &f)
			}
			return t.receivePackets(ctx, c, p, flow, &f)
		})
		return f, err
	})
	if err != nil {
		return nil, fmt.Errorf("packets: %w", err)
	}
	return flows, nil
}

func sendPackets(ctx context.Context, c *socket, p *wire.Packets, flow int, f *wire.Flow) error {
	b := make([]byte, p.Bytes)
	pace := wire.NewPace(p.PerSecond)
	start := time.Now()
	for n := range uint32(p.Each) {
		if err := pace.Wait(ctx, n); err != nil {
			return err
		}
		wire.Datagram{Key: p.Token.Key(), Flow: uint16(flow), Type: wire.DatagramData, Sequence: n}.Put(b)
		if _, err := c.Write(b); err != nil {
			return fmt.Errorf("after %d datagrams: %w", f.Packets, err)
		}
		f.Packets++
		f.Bytes += uint64(len(b))
	}
	f.DurationNs = time.Since(start).Nanoseconds()
	return nil
}

// receivePackets ends when all are there, or when all were sent and nothing comes any more.
func (t *task) receivePackets(ctx context.Context, c *socket, p *wire.Packets, flow int, f *wire.Flow) error {
	hello := greeting(&p.Flows, flow)
	if err := hello.send(c); err != nil {
		return err
	}
	tally := wire.NewTally(p.Each)
	b := make([]byte, p.Bytes+1)
	var start, last time.Time
	for empty := 0; tally.Received < p.Each && empty < quietTicks; {
		sent := t.sent.Err() != nil
		n, err := c.Read(b)
		switch {
		case err == nil:
			d, ok := wire.ParseDatagram(b[:n])
			if !ok || d.Key != p.Token.Key() || d.Type != wire.DatagramData || n != p.Bytes {
				continue
			}
			tally.Add(d.Sequence)
			last, empty = time.Now(), 0
			if start.IsZero() {
				start = last
			}
		case ctx.Err() != nil:
			return ctx.Err()
		case !errors.Is(err, unix.EAGAIN):
			return fmt.Errorf("after %d datagrams: %w", tally.Received, err)
		case sent:
			empty++
		case start.IsZero():
			if err := hello.send(c); err != nil {
				return err
			}
		}
	}
	f.Packets, f.Duplicates, f.Reordered = tally.Received, tally.Duplicates, tally.Reordered
	f.Bytes = tally.Received * uint64(p.Bytes)
	if !start.IsZero() {
		f.DurationNs = last.Sub(start).Nanoseconds()
	}
	return nil
}
