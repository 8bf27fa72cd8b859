package measure

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"doorbell/internal/probe"
	"doorbell/internal/report"
	"doorbell/internal/traffic"
	"doorbell/internal/traffic/wire"
	"doorbell/vmm"
)

// The load of each arm in a round: requests by datagrams that the guest's agent sends back, one after the other, so that no two packets share an interrupt or
// a wake-up because this host was late.
const (
	affinityRounds   = 3
	affinityRequests = 400
	// affinityWarmUp come before: Linux moves an MSI-X vector to another CPU when it fires next (kernel/irq/migration.c).
	affinityWarmUp = 30
)

// An affinityArm says where a flow's interrupt, its protocol work and its application are.
type affinityArm struct {
	name   string
	spread bool // a queue pair for each vCPU; otherwise one for all
	vector place
	app    place
	rps    bool // the queue's packets are handed to the application's vCPU before the protocols
	vcpus  int  // at least
}

// A place is a vCPU, in words that do not depend on how many there are.
type place int

const (
	anywhere place = iota // as Linux likes
	near                  // the last vCPU
	far                   // the first one, which is another
)

var affinityArms = []affinityArm{
	{name: "aligned: queue, vector and application on one vCPU", spread: true, vector: near, app: near, vcpus: 1},
	{name: "crossed: vector on one vCPU, application on the other", spread: true, vector: far, app: near, vcpus: 2},
	{name: "RPS: one queue, its packets steered to the application's vCPU", vector: far, app: near, rps: true, vcpus: 2},
	{name: "one queue for all, application unpinned", vector: anywhere, app: anywhere, vcpus: 1},
}

// cpu is the place's number in a guest of that many, -1 for any.
func (p place) cpu(vcpus int) int {
	return map[place]int{anywhere: -1, near: vcpus - 1, far: 0}[p]
}

// possible is why an arm cannot be told from another on this host or in this guest; nil if it can.
func (a affinityArm) possible(vcpus, processors int) error {
	switch {
	case vcpus < a.vcpus:
		return fmt.Errorf("it needs %d vCPUs: -c %d", a.vcpus, a.vcpus)
	case processors < a.vcpus:
		return fmt.Errorf("it needs %d processors of the host: on one the two vCPUs take turns, and an interrupt from one to the other waits for its turn", a.vcpus)
	}
	return nil
}

// affinityRow is what the rounds of one arm gave.
type affinityRow struct {
	packets                                    uint64
	interrupts, reschedules, calls, ipis, woke spread // for each packet
	exitsEach                                  spread // for each packet, less the guest's own
	ownEach                                    spread // the guest's own exits in the same time, for each packet
	latency                                    spread // of a request, in ns of this host's clock
	err                                        error
}

// Affinity is the experiment `affinity`: what it costs that a packet's interrupt and its reader are on different vCPUs.
func Affinity(ctx context.Context, cfg vmm.Config) (*report.Document, *vmm.Result, error) {
	if cfg.Net.Backend != "user" {
		return nil, nil, errors.New("measure affinity: it sends packets through user-mode networking: leave --net out")
	}
	doc := &report.Document{Environment: probe.Host()}
	c, err := listenFor(&cfg)
	if err != nil {
		return nil, nil, err
	}
	defer c.Close()
	rows := make([]affinityRow, len(affinityArms))
	var arms []int // that can be measured here
	for i, a := range affinityArms {
		if rows[i].err = a.possible(cfg.VCPUs, runtime.NumCPU()); rows[i].err == nil {
			arms = append(arms, i)
		}
	}
	order := newRounds(ctx, affinityRounds)
	res, err := runWatched(ctx, cfg, order.limitOfAll(), func(ctx context.Context, m *vmm.Machine) error {
		g, err := c.Accept(ctx)
		if err != nil {
			return err
		}
		names := namesOf(arms, func(i int) string { return affinityArms[i].name })
		failures := order.each(ctx, cfg, "affinity", names, func(i int) error {
			return rows[arms[i]].measure(ctx, g, m, affinityArms[arms[i]], cfg.VCPUs)
		})
		for i, err := range failures {
			rows[arms[i]].err = err
		}
		return g.End(ctx)
	})
	if res == nil {
		return nil, nil, err
	}
	doc.Experiments = []report.Experiment{affinityExperiment(rows, order, cfg.VCPUs, err)}
	return doc, res, nil
}

// measure is one round of an arm.
func (r *affinityRow) measure(ctx context.Context, g *traffic.Guest, m *vmm.Machine, arm affinityArm, vcpus int) error {
	queue, err := arm.arrange(ctx, g, vcpus)
	if err != nil {
		return err
	}
	if _, err := g.RoundTrips(ctx, traffic.RoundTripOptions{UDP: true, Count: affinityWarmUp}); err != nil {
		return err
	}
	own, err := ownExits(ctx, m)
	if err != nil {
		return err
	}
	before, err := g.Snapshot(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	exitsBefore, _ := m.Exits()
	t, err := g.RoundTrips(ctx, traffic.RoundTripOptions{UDP: true, Count: affinityRequests})
	if err != nil {
		return err
	}
	if len(t.Flows) != 1 {
		return fmt.Errorf("the guest tells of %d flows where there was one", len(t.Flows))
	}
	exitsAfter, known := m.Exits()
	own *= time.Since(began).Seconds()
	after, err := g.Snapshot(ctx)
	if err != nil {
		return err
	}
	counted := after.Since(&before)
	interrupts, err := queueInterrupts(&counted, queue, arm.vector.cpu(vcpus))
	if err != nil {
		return err
	}
	came, received := counted.Counter(fmt.Sprintf("rx_queue_%d_packets", queue)), t.Flows[0].Packets
	if received != affinityRequests || t.Lost > 0 || came < received || interrupts == 0 {
		return fmt.Errorf("the figures do not balance: %d requests sent, %d received, %d without an answer, %d packets by queue %d, %d interrupts",
			affinityRequests, received, t.Lost, came, queue, interrupts)
	}
	each := func(s *spread, n uint64) { *s = append(*s, float64(n)/affinityRequests) }
	r.packets += received
	each(&r.interrupts, interrupts)
	// Linux counts an IPI where it arrives: RES, when a CPU is to look at its run queue, and CAL, when it is to call a function, which is how packets are
	// steered to another CPU's backlog and how a thread of an idle CPU may be woken. KVM's own local APICs keep no count that could be read meanwhile.
	reschedules, calls := rowTotal(&counted, "RES"), rowTotal(&counted, "CAL")
	each(&r.reschedules, reschedules)
	each(&r.calls, calls)
	each(&r.ipis, reschedules+calls)
	// Voluntary context switches of the thread that reads the datagrams: each is a sleep that a packet ended.
	each(&r.woke, t.Flows[0].VoluntarySwitches)
	if known {
		r.exitsEach = append(r.exitsEach, (float64(exitsAfter-exitsBefore)-own)/affinityRequests)
		r.ownEach = append(r.ownEach, own/affinityRequests)
	}
	r.latency = append(r.latency, float64(t.Latency.P50.Nanoseconds()))
	return nil
}

// rowTotal is the sum of one row of /proc/interrupts, 0 where there is none: a kernel for one CPU has no IPIs.
func rowTotal(s *wire.Snapshot, irq string) uint64 {
	if row := s.Interrupts.Row(irq); row != nil {
		return row.Total
	}
	return 0
}

// affinityExperiment puts the rows together. A time is shown as a ratio to the first arm only.
func affinityExperiment(rows []affinityRow, order rounds, vcpus int, failure error) report.Experiment {
	e := report.Experiment{Name: "affinity", Missing: map[string]string{}, Parameters: order.parameters(), Table: &report.Table{
		Columns: []string{"where", "packets", "interrupts per packet", "IPIs per packet", "least", "most", "of these RES", "CAL", "wake-ups per packet", "exits per packet", "least", "most", "guest's own, subtracted",
			"a request's time, ÷ aligned"},
	}}
	e.Parameters["packets_per_round"], e.Parameters["vcpus"] = affinityRequests, vcpus
	ipis, exits := plot("IPIs per packet"), plot("exits per packet")
	e.Plots, e.Literature = []*report.Plot{ipis, exits}, literatureAffinity
	for i, a := range affinityArms {
		r := &rows[i]
		if missed(&e, a.name, r.err, failure, len(r.ipis), order.n) {
			continue
		}
		row := map[string]any{"arm": a.name, "packets": r.packets, "latency_ratio": nil}
		for name, s := range map[string]spread{
			"interrupts_per_packet": r.interrupts, "ipis_per_packet": r.ipis, "reschedule_ipis_per_packet": r.reschedules, "call_ipis_per_packet": r.calls,
			"wakeups_per_packet": r.woke, "exits_per_packet": r.exitsEach, "own_exits_per_packet": r.ownEach,
		} {
			s.into(row, name)
		}
		low, high := r.ipis.bounds()
		cells := []string{a.name, fmt.Sprint(r.packets), fixed(r.interrupts.median(), 2), fixed(r.ipis.median(), 2), fixed(low, 2), fixed(high, 2),
			fixed(r.reschedules.median(), 2), fixed(r.calls.median(), 2), fixed(r.woke.median(), 2), "-", "-", "-", "-", "-"}
		ipis.Bars = append(ipis.Bars, bar(a.name, r.ipis.median()))
		if len(r.exitsEach) > 0 {
			low, high := r.exitsEach.bounds()
			cells[9], cells[10], cells[11], cells[12] = fixed(r.exitsEach.median(), 2), fixed(low, 2), fixed(high, 2), fixed(r.ownEach.median(), 2)
			exits.Bars = append(exits.Bars, bar(a.name, r.exitsEach.median()))
		}
		if ratio := r.latency.overMedian(rows[0].latency); len(ratio) > 0 {
			ratio.into(row, "latency_ratio")
			cells[13] = fixed(ratio.median(), 2)
		}
		e.Rows, e.Table.Rows = append(e.Rows, row), append(e.Table.Rows, cells)
	}
	e.Finding = affinityFinding(e.Rows)
	return e
}
