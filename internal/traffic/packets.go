package traffic

import (
	"context"
	"fmt"
	"sync"
	"time"

	"doorbell/internal/traffic/wire"
)

// PacketOptions say what to send over UDP.
type PacketOptions struct {
	Placement
	// PerFlow is how many datagrams each flow sends, at most wire.MaxPackets.
	PerFlow uint64
	// Bytes is the size of each, without UDP's header; 0 is the least that may be.
	Bytes int
	// PerSecond limits each flow; 0 is as fast as can be.
	PerSecond float64
}

// A PacketResult says what became of them.
type PacketResult struct {
	Sent, Received, Duplicates, Reordered uint64
	// Duration is from the first datagram that arrived to the last, by the receiver's clock.
	Duration time.Duration
	// Elapsed is by this side's clock: from before the first datagram was sent to the guest until its answer, which comes with the last one, or when it has
	// waited in vain. It is 0 of what the guest sends.
	Elapsed time.Duration
	// Port is this side's, of all flows.
	Port uint16
	// Flows is what the guest saw: of what it sent, or of what it received.
	Flows []wire.Flow
}

// Lost is what was sent and did not arrive.
func (r *PacketResult) Lost() uint64 { return r.Sent - min(r.Received, r.Sent) }

// PerSecond is the rate at which they arrived.
func (r *PacketResult) PerSecond() float64 { return float64(r.Received) / r.Duration.Seconds() }

func (o *PacketOptions) task(up bool) *wire.Packets {
	return &wire.Packets{Flows: o.flows(), Up: up, Bytes: max(o.Bytes, wire.DatagramHeader), Each: o.PerFlow, PerSecond: o.PerSecond}
}

// PacketsUp has the guest send.
func (g *Guest) PacketsUp(ctx context.Context, o PacketOptions) (PacketResult, error) {
	r, err := g.packetsUp(ctx, o.task(true))
	if err != nil {
		return PacketResult{}, fmt.Errorf("packets up: %w", err)
	}
	return r, nil
}

func (g *Guest) packetsUp(ctx context.Context, p *wire.Packets) (PacketResult, error) {
	d, err := g.openDatagrams(&p.Flows)
	if err != nil {
		return PacketResult{}, err
	}
	defer d.Close()
	call, err := g.start(&wire.Task{Packets: p})
	if err != nil {
		return PacketResult{}, err
	}
	tallies := make([]*wire.Tally, p.Flows.Count)
	for i := range tallies {
		tallies[i] = wire.NewTally(p.Each)
	}
	var first, last time.Time
	var received uint64
	b := make([]byte, p.Bytes+1)
	answered, empty := false, 0 // ticks without a datagram since the guest's answer
	for looked := time.Now(); received < p.Each*uint64(len(tallies)) && empty < quietTicks && ctx.Err() == nil; {
		header, n, ok, err := d.next(b)
		now := time.Now()
		switch {
		case err != nil:
			_, err = call.finish(ctx, err)
			return PacketResult{}, err
		case ok && n == p.Bytes && header.Type == wire.DatagramData:
			t := tallies[header.Flow]
			received -= t.Received
			t.Add(header.Sequence)
			received += t.Received
			if first.IsZero() {
				first = now
			}
			last, empty = now, 0
		case answered && !ok:
			empty++
		}
		if now.Sub(looked) >= tick {
			looked = now
			answered = call.goingOn(ctx) != nil
		}
	}
	answer, err := call.finish(ctx, nil)
	if err != nil {
		return PacketResult{}, err
	}
	r := PacketResult{Port: d.port(), Flows: answer.Flows}
	if !first.IsZero() {
		r.Duration = last.Sub(first)
	}
	for _, f := range answer.Flows {
		r.Sent += f.Packets
	}
	for _, t := range tallies {
		r.Received += t.Received
		r.Duplicates += t.Duplicates
		r.Reordered += t.Reordered
	}
	return r, nil
}

// PacketsDown sends to the guest.
func (g *Guest) PacketsDown(ctx context.Context, o PacketOptions) (PacketResult, error) {
	r, err := g.packetsDown(ctx, &o.Placement, o.task(false))
	if err != nil {
		return PacketResult{}, fmt.Errorf("packets down: %w", err)
	}
	return r, nil
}

func (g *Guest) packetsDown(ctx context.Context, placement *Placement, p *wire.Packets) (PacketResult, error) {
	d, err := g.openDatagrams(&p.Flows)
	if err != nil {
		return PacketResult{}, err
	}
	defer d.Close()
	call, err := g.start(&wire.Task{Packets: p})
	if err != nil {
		return PacketResult{}, err
	}
	r := PacketResult{Port: d.port(), Sent: p.Each * uint64(p.Flows.Count)}
	err = d.greet(ctx, call, placement)
	start := time.Now()
	if err == nil {
		err = d.sendAll(ctx, p)
	}
	if err == nil {
		err = call.sent(r.Sent)
	}
	answer, err := call.finish(ctx, err)
	if err != nil {
		return PacketResult{}, err
	}
	r.Flows, r.Elapsed = answer.Flows, time.Since(start)
	for _, f := range answer.Flows {
		r.Received += f.Packets
		r.Duplicates += f.Duplicates
		r.Reordered += f.Reordered
		r.Duration = max(r.Duration, time.Duration(f.DurationNs))
	}
	return r, nil
}

// sendAll sends every flow's datagrams, each flow in a goroutine of its own.
func (d *datagrams) sendAll(ctx context.Context, p *wire.Packets) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var group sync.WaitGroup
	for flow := range d.peers {
		group.Go(func() {
			if err := d.sendFlow(ctx, flow, p); err != nil {
				cancel(err)
			}
		})
	}
	group.Wait()
	return context.Cause(ctx)
}

func (d *datagrams) sendFlow(ctx context.Context, flow int, p *wire.Packets) error {
	b := make([]byte, p.Bytes)
	pace := wire.NewPace(p.PerSecond)
	for n := range uint32(p.Each) {
		if err := pace.Wait(ctx, n); err != nil {
			return err
		}
		wire.Datagram{Key: d.key, Flow: uint16(flow), Type: wire.DatagramData, Sequence: n}.Put(b)
		if err := d.send(flow, b); err != nil {
			return err
		}
	}
	return nil
}
