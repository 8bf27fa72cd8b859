package guest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"doorbell/internal/traffic/wire"

	"golang.org/x/sys/unix"
)

// tick is how often a wait for datagrams looks up.
const tick = 100 * time.Millisecond

// roundTrips sends back what comes.
func (t *task) roundTrips(ctx context.Context, r *wire.RoundTrips) ([]wire.Flow, error) {
	work := t.echoUDP
	if !r.UDP {
		open, done, err := t.open(ctx, &r.Flows)
		if err != nil {
			return nil, fmt.Errorf("round trips: %w", err)
		}
		defer done()
		work = func(ctx context.Context, r *wire.RoundTrips, flow int) (wire.Flow, error) {
			c, err := open(ctx, flow)
			if err != nil {
				return wire.Flow{}, err
			}
			defer c.Close()
			return echo(c, r)
		}
	}
	flows, err := each(ctx, &r.Flows, func(ctx context.Context, flow int) (wire.Flow, error) { return work(ctx, r, flow) })
	if err != nil {
		return nil, fmt.Errorf("round trips: %w", err)
	}
	return flows, nil
}

// echo ends when the controller closes between two requests.
func echo(c *socket, r *wire.RoundTrips) (wire.Flow, error) {
	f := wire.Flow{LocalPort: c.port}
	b := make([]byte, r.Bytes)
	start := time.Now()
	for {
		n, err := io.ReadFull(c, b)
		if n == 0 && errors.Is(err, io.EOF) {
			f.DurationNs = time.Since(start).Nanoseconds()
			return f, nil
		}
		if err == nil {
			_, err = c.Write(b)
		}
		if err != nil {
			return f, fmt.Errorf("after %d: %w", f.Packets, err)
		}
		f.Packets++
		f.Bytes += uint64(len(b))
	}
}

// echoUDP ends when the controller says so.
func (t *task) echoUDP(ctx context.Context, r *wire.RoundTrips, flow int) (wire.Flow, error) {
	c, err := t.openUDP(ctx, &r.Flows, flow)
	if err != nil {
		return wire.Flow{}, err
	}
	defer c.Close()
	defer context.AfterFunc(t.sent, c.shutdown)()
	f := wire.Flow{LocalPort: c.port}
	f.VoluntarySwitches, err = countSwitches(func() error { return t.echoDatagrams(ctx, r, flow, c, &f) })
	return f, err
}

func (t *task) echoDatagrams(ctx context.Context, r *wire.RoundTrips, flow int, c *socket, f *wire.Flow) error {
	hello := greeting(&r.Flows, flow)
	if err := hello.send(c); err != nil {
		return err
	}
	b := make([]byte, r.Bytes+1)
	start := time.Now()
	for {
		n, err := c.Read(b)
		switch {
		case t.sent.Err() != nil:
			f.DurationNs = time.Since(start).Nanoseconds()
			return ctx.Err()
		case errors.Is(err, unix.EAGAIN):
			if f.Packets > 0 {
				continue
			}
			if err := hello.send(c); err != nil {
				return err
			}
			continue
		case err != nil:
			return fmt.Errorf("after %d: %w", f.Packets, err)
		}
		d, ok := wire.ParseDatagram(b[:n])
		if !ok || d.Key != r.Token.Key() || d.Type != wire.DatagramData {
			continue
		}
		if _, err := c.Write(b[:n]); err != nil && t.sent.Err() == nil {
			return fmt.Errorf("after %d: %w", f.Packets, err)
		}
		f.Packets++
		f.Bytes += uint64(n)
	}
}

// hello is the datagram by which the controller learns where a flow's socket is.
type hello struct {
	inbound bool // then it knows
	b       [wire.DatagramHeader]byte
}

func greeting(f *wire.Flows, flow int) *hello {
	h := &hello{inbound: f.Inbound}
	wire.Datagram{Key: f.Token.Key(), Flow: uint16(flow), Type: wire.DatagramHello}.Put(h.b[:])
	return h
}

func (h *hello) send(c *socket) error {
	if h.inbound {
		return nil
	}
	_, err := c.Write(h.b[:])
	return err
}
