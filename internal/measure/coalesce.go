package measure

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"doorbell/internal/netconf"
	"doorbell/internal/probe"
	"doorbell/internal/report"
	"doorbell/internal/traffic"
	"doorbell/internal/traffic/wire"
	"doorbell/vmm"
)

// The load of each arm in a round: datagrams to the guest, evenly spaced, then a flood of them, then requests one after the other.
const (
	coalesceRounds    = 3
	coalescePackets   = 800
	coalescePerSecond = 1000
	coalesceRequests  = 10
)

// The flood is of several flows, each no longer than the receive buffer that Linux gives a UDP socket by default (212,992 bytes, of which a small datagram
// takes 768): each flow has a socket of doorbell's, so that nothing is lost however long doorbell waits for a processor. All flows fit in the queue of user-mode
// networking, 4096 frames.
const (
	floodFlows   = 15
	floodPerFlow = 250
)

// A coalesceArm is one setting.
type coalesceArm struct {
	name     string
	coalesce netconf.Coalesce
	polling  netconf.Polling // the guest's own: the card does not know of it
}

// coalesceArms are what the guest asks of the card for what it receives, as by ethtool -C, and what it does by itself. A number of frames has a time with it,
// or the last would wait for ever. For what it transmits there is no coalescing: Linux 6.1 takes a card without a number of frames for one without interrupts
// for that. What NAPI finds by its timer keeps interrupts off for ten more times; a reader polls for longer than two packets are apart.
var coalesceArms = []coalesceArm{
	{name: "none", coalesce: netconf.Coalesce{TxFrames: 1}},
	{name: "4 frames or 20 ms", coalesce: netconf.Coalesce{RxFrames: 4, RxUsecs: 20_000, TxFrames: 1}},
	{name: "16 frames or 20 ms", coalesce: netconf.Coalesce{RxFrames: 16, RxUsecs: 20_000, TxFrames: 1}},
	{name: "5 ms", coalesce: netconf.Coalesce{RxUsecs: 5_000, TxFrames: 1}},
	{name: "20 ms", coalesce: netconf.Coalesce{RxUsecs: 20_000, TxFrames: 1}},
	{name: "guest: NAPI defers interrupts, 5 ms", coalesce: netconf.Coalesce{TxFrames: 1}, polling: netconf.Polling{DeferHardIRQs: 10, GROFlushTimeoutNs: 5_000_000}},
	{name: "guest: busy polling, 20 ms", coalesce: netconf.Coalesce{TxFrames: 1}, polling: netconf.Polling{BusyReadUsecs: 20_000}},
}

// coalesceRow is what the rounds of one arm gave.
type coalesceRow struct {
	packets, interrupts uint64
	perInterrupt        spread // packets; of rounds with an interrupt
	interruptsEach      spread // of the card, for each packet
	timersEach          spread // interrupts of the local APICs' timers, for each packet: who looks by time needs them
	exitsEach           spread // for each packet, less the guest's own
	ownEach             spread // the guest's own exits in the same time, for each packet: those that it has without packets
	flood               flood
	latency             spread // of a request, in ns of this host's clock
	err                 error
}

// flood is what the guest takes as fast as it can.
type flood struct {
	perSecond      spread // packets, by this host's clock
	interruptsEach spread // of the card, for each packet
	exitsEach      spread // for each packet, less the guest's own
	ownEach        spread // the guest's own, as in coalesceRow
	lossy          int    // rounds that are in none of these, since the guest did not receive all
	lost           uint64 // packets of those
}

// Coalesce is the experiment `coalesce`: what putting interrupts off spares, and what it costs in time.
func Coalesce(ctx context.Context, cfg vmm.Config) (*report.Document, *vmm.Result, error) {
	if cfg.Net.Backend != "user" {
		return nil, nil, errors.New("measure coalesce: it sends packets through user-mode networking: leave --net out")
	}
	doc := &report.Document{Environment: probe.Host()}
	c, err := listenFor(&cfg)
	if err != nil {
		return nil, nil, err
	}
	defer c.Close()
	rows := make([]coalesceRow, len(coalesceArms))
	order := newRounds(ctx, roundsIn(ctx, coalesceRounds))
	res, err := runWatched(ctx, cfg, order.limitOfAll(), func(ctx context.Context, m *vmm.Machine) error {
		g, err := c.Accept(ctx)
		if err != nil {
			return err
		}
		names := namesOf(coalesceArms, func(a coalesceArm) string { return a.name })
		for i, err := range order.each(ctx, cfg, "coalesce", names, func(i int) error { return rows[i].measure(ctx, g, m, coalesceArms[i]) }) {
			rows[i].err = err
		}
		return g.End(ctx)
	})
	if res == nil {
		return nil, nil, err
	}
	doc.Experiments = []report.Experiment{coalesceExperiment(rows, order, err)}
	return doc, res, nil
}

// reception is what a load of datagrams to the guest gave.
type reception struct {
	packets traffic.PacketResult
	exits   float64       // less the guest's own
	own     float64       // what it has without packets in the same time
	known   bool          // the exits
	after   wire.Snapshot // the guest's counters then
	counted wire.Snapshot // what they counted meanwhile
}

// receive sends the guest datagrams; before are its counters, own is how many exits a second it has without them.
func receive(ctx context.Context, g *traffic.Guest, m *vmm.Machine, before *wire.Snapshot, own float64, o traffic.PacketOptions) (r *reception, err error) {
	r = &reception{}
	began := time.Now()
	start, known := m.Exits()
	if r.packets, err = g.PacketsDown(ctx, o); err != nil {
		return nil, err
	}
	end, still := m.Exits()
	r.own, r.known = own*time.Since(began).Seconds(), known && still
	r.exits = float64(end-start) - r.own
	if r.after, err = g.Snapshot(ctx); err != nil {
		return nil, err
	}
	r.counted = r.after.Since(before)
	return r, nil
}

// measure is one round of an arm.
func (r *coalesceRow) measure(ctx context.Context, g *traffic.Guest, m *vmm.Machine, arm coalesceArm) error {
	now, err := g.Configure(ctx, wire.Configure{Coalesce: &arm.coalesce, Polling: &arm.polling})
	if err != nil {
		return err
	}
	if now.Coalesce == nil || *now.Coalesce != arm.coalesce {
		return fmt.Errorf("the driver has %+v instead", now.Coalesce)
	}
	if now.Polling == nil || *now.Polling != arm.polling {
		return fmt.Errorf("the guest's kernel has %+v instead", now.Polling)
	}
	own, err := ownExits(ctx, m)
	if err != nil {
		return err
	}
	before, err := g.Snapshot(ctx)
	if err != nil {
		return err
	}
	even, err := receive(ctx, g, m, &before, own, traffic.PacketOptions{Placement: traffic.Placement{CPUs: []int{0}}, PerFlow: coalescePackets, PerSecond: coalescePerSecond})
	if err != nil {
		return err
	}
	flooded, err := receive(ctx, g, m, &even.after, own, traffic.PacketOptions{Placement: traffic.Placement{Flows: floodFlows, CPUs: []int{0}}, PerFlow: floodPerFlow})
	if err != nil {
		return err
	}
	// Latency is the controller's: a request's answer waits in the card like any packet.
	t, err := g.RoundTrips(ctx, traffic.RoundTripOptions{Count: coalesceRequests})
	if err != nil {
		return err
	}
	p, interrupts := &even.packets, receiveInterrupts(&even.counted)
	// A guest that polls may need no interrupt.
	if p.Received == 0 || interrupts == 0 && arm.polling == (netconf.Polling{}) || p.Received != p.Sent {
		return fmt.Errorf("the figures do not balance: %d datagrams sent, %d received, %d interrupts", p.Sent, p.Received, interrupts)
	}
	r.packets, r.interrupts = r.packets+p.Received, r.interrupts+interrupts
	if interrupts > 0 {
		r.perInterrupt = append(r.perInterrupt, float64(p.Received)/float64(interrupts))
	}
	r.interruptsEach = append(r.interruptsEach, float64(interrupts)/float64(p.Received))
	r.timersEach = append(r.timersEach, float64(rowTotal(&even.counted, "LOC"))/float64(p.Received))
	if even.known {
		r.exitsEach = append(r.exitsEach, even.exits/float64(p.Received))
		r.ownEach = append(r.ownEach, even.own/float64(p.Received))
	}
	r.flood.add(flooded)
	r.latency = append(r.latency, float64(t.Latency.P50.Nanoseconds()))
	return nil
}

// add is a round's. One that lost something, as where a host has small buffers, says nothing of how much can be taken; the rest of its round does.
func (f *flood) add(r *reception) {
	p := &r.packets
	if p.Received != p.Sent || p.Elapsed <= 0 { // the guest may say that it received more
		f.lossy++
		f.lost += p.Lost()
		return
	}
	f.perSecond = append(f.perSecond, float64(p.Received)/p.Elapsed.Seconds())
	f.interruptsEach = append(f.interruptsEach, float64(receiveInterrupts(&r.counted))/float64(p.Received))
	if r.known {
		f.exitsEach = append(f.exitsEach, r.exits/float64(p.Received))
		f.ownEach = append(f.ownEach, r.own/float64(p.Received))
	}
}

// receiveInterrupts are those of the card's receive queues.
func receiveInterrupts(s *wire.Snapshot) (n uint64) {
	for _, row := range s.Interrupts.Rows {
		if strings.Contains(row.Name, "-input.") {
			n += row.Total
		}
	}
	return n
}

// coalesceExperiment puts the rows together. A time, and a rate, is shown as a ratio to the arm without coalescing only.
func coalesceExperiment(rows []coalesceRow, order rounds, failure error) report.Experiment {
	e := report.Experiment{Name: "coalesce", Missing: map[string]string{}, Parameters: order.parameters(), Table: &report.Table{
		Columns: []string{"for what the guest receives", "packets", "interrupts", "packets per interrupt", "least", "most", "interrupts per packet", "timer interrupts per packet", "exits per packet", "guest's own, subtracted",
			"a request's time, ÷ none", "flood: packets a second, ÷ none", "least", "most", "flood: interrupts per packet", "flood: exits per packet"},
	}}
	e.Parameters["packets_per_round"], e.Parameters["packets_per_second"] = coalescePackets, coalescePerSecond
	e.Parameters["flood_packets_per_round"], e.Parameters["flood_flows"] = floodFlows*floodPerFlow, floodFlows
	var exits []report.Bar
	times, rates := plot("a request's time, in that without coalescing"), plot("packets a second under a flood, in those without coalescing")
	for i, a := range coalesceArms {
		r := &rows[i]
		if missed(&e, a.name, r.err, failure, len(r.interruptsEach), order.n) {
			continue
		}
		row := map[string]any{
			"arm": a.name, "rx_frames": a.coalesce.RxFrames, "rx_usecs": a.coalesce.RxUsecs, "napi_defer_hard_irqs": a.polling.DeferHardIRQs,
			"gro_flush_timeout_ns": a.polling.GROFlushTimeoutNs, "busy_read_usecs": a.polling.BusyReadUsecs,
			"packets": r.packets, "interrupts": r.interrupts, "latency_ratio": nil, "throughput_ratio": nil,
		}
		if len(r.perInterrupt) < len(r.interruptsEach) { // a round without an interrupt has no such figure, and a median needs all of them
			r.perInterrupt = nil
		}
		r.perInterrupt.into(row, "packets_per_interrupt")
		r.interruptsEach.into(row, "interrupts_per_packet")
		r.timersEach.into(row, "timer_interrupts_per_packet")
		r.exitsEach.into(row, "exits_per_packet")
		r.ownEach.into(row, "own_exits_per_packet")
		r.flood.interruptsEach.into(row, "flood_interrupts_per_packet")
		r.flood.exitsEach.into(row, "flood_exits_per_packet")
		r.flood.ownEach.into(row, "flood_own_exits_per_packet")
		cells := []string{a.name, fmt.Sprint(r.packets), fmt.Sprint(r.interrupts), "-", "-", "-", fixed(r.interruptsEach.median(), 2), fixed(r.timersEach.median(), 2), "-", "-", "-", "-", "-", "-", "-", "-"}
		if len(r.perInterrupt) > 0 {
			low, high := r.perInterrupt.bounds()
			cells[3], cells[4], cells[5] = fixed(r.perInterrupt.median(), 1), fixed(low, 1), fixed(high, 1)
		}
		if len(r.exitsEach) > 0 {
			cells[8], cells[9] = fixed(r.exitsEach.median(), 2), fixed(r.ownEach.median(), 2)
		}
		if len(r.exitsEach) > 0 && len(r.perInterrupt) > 0 {
			point := bar(a.name, r.exitsEach.median())
			point.X = r.perInterrupt.median()
			exits = append(exits, point)
		}
		if r.flood.lossy > 0 {
			e.Missing[fmt.Sprintf("%s: the flood (%d of %d rounds)", a.name, r.flood.lossy, order.n)] = fmt.Sprintf("%d datagrams were lost", r.flood.lost)
		}
		if len(r.flood.interruptsEach) > 0 {
			cells[14] = fixed(r.flood.interruptsEach.median(), 3)
		}
		if len(r.flood.exitsEach) > 0 {
			cells[15] = fixed(r.flood.exitsEach.median(), 2)
		}
		if ratio := r.latency.overMedian(rows[0].latency); len(ratio) > 0 {
			ratio.into(row, "latency_ratio")
			cells[10] = fixed(ratio.median(), 2)
			times.Bars = append(times.Bars, bar(a.name, ratio.median()))
		}
		if ratio := r.flood.perSecond.overMedian(rows[0].flood.perSecond); len(ratio) > 0 {
			ratio.into(row, "throughput_ratio")
			low, high := ratio.bounds()
			cells[11], cells[12], cells[13] = fixed(ratio.median(), 2), fixed(low, 2), fixed(high, 2)
			rates.Bars = append(rates.Bars, bar(a.name, ratio.median()))
		}
		e.Rows, e.Table.Rows = append(e.Rows, row), append(e.Table.Rows, cells)
	}
	e.Plots, e.Literature = []*report.Plot{curve("exits per packet", "packets per interrupt", exits...), times, rates}, literatureCoalesce
	if len(rows[0].flood.perSecond) == 0 && len(e.Rows) > 0 {
		e.Missing["flood: packets a second, ÷ none"] = "no flood without coalescing to put others in proportion to"
	}
	none, frames := coalesceArms[0].name, coalesceArms[2].name
	e.Finding = e.Sentence("arm",
		report.Clause{Row: none, Figure: "packets_per_interrupt", Words: "without coalescing %.1f packets to an interrupt"},
		report.Clause{Row: none, Figure: "exits_per_packet", Words: "%.2f exits to a packet"},
		report.Clause{Row: frames, Figure: "packets_per_interrupt", Words: "with " + frames + " %.1f packets to an interrupt"},
		report.Clause{Row: frames, Figure: "exits_per_packet", Words: "%.2f exits to a packet"},
		report.Clause{Row: frames, Figure: "latency_ratio", Words: "%.1f times the time of a request that waits alone"},
		report.Clause{Row: frames, Figure: "throughput_ratio", Words: "and %.2f times the packets a second of a flood" + floodDiffers(rows[0].flood.perSecond, rows[2].flood.perSecond)})
	return e
}

// floodDiffers says in a finding that two rates are no further apart than the rounds of one.
func floodDiffers(none, other spread) string {
	if len(none) == 0 || len(other) == 0 {
		return ""
	}
	least, most := none.bounds()
	low, high := other.bounds()
	if low <= most && high >= least {
		return ", which rounds differ by as well"
	}
	return ""
}
