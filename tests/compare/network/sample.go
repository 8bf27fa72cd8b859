package network

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"doorbell/internal/traffic/wire"
	"doorbell/tests/compare/process"
)

// sample is one load, once.
type sample struct {
	rate    float64
	packets float64
	exits   map[string]float64 // hardware exits of all vCPUs, by reason
	in, out float64            // interrupts of the card's receive and transmit queues, as the guest counted them
	rx, tx  float64            // frames at the guest's interface
	own     float64            // seconds of processor time that the VMM took beside running the guest
}

func (s sample) exitsPerPacket() float64 {
	all := 0.0
	for _, n := range s.exits {
		all += n
	}
	return all / s.packets
}

func (s sample) interruptsPerPacket() float64 { return (s.in + s.out) / s.packets }
func (s sample) ownPerPacket() float64        { return s.own / s.packets * 1e6 }

// measure runs a load between two looks at the counters.
func (m *machine) measure(ctx context.Context, l *load, sizes *Sizes) (s sample, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, loadPatience, fmt.Errorf("not done within %v", loadPatience))
	defer cancel()
	before, err := m.Snapshot(ctx)
	if err != nil {
		return s, err
	}
	own, err := process.OwnSeconds(m.pid())
	if err != nil {
		return s, err
	}
	exits, err := m.exits()
	if err != nil {
		return s, err
	}
	done, err := l.run(ctx, m.Guest, sizes)
	if err != nil {
		return s, err
	}
	s = sample{rate: done.rate, packets: done.packets, own: -own}
	if s.exits, err = m.exits(); err != nil {
		return s, err
	}
	for reason, n := range exits {
		s.exits[reason] -= n
	}
	if own, err = process.OwnSeconds(m.pid()); err != nil {
		return s, err
	}
	after, err := m.Snapshot(ctx)
	if err != nil {
		return s, err
	}
	delta := after.Since(&before)
	s.own += own
	s.in, s.out = cardInterrupts(&delta)
	s.rx, s.tx = float64(delta.Link.RxPackets), float64(delta.Link.TxPackets)
	return s, nil
}

// exits are all that the machine had so far.
func (m *machine) exits() (map[string]float64, error) {
	traced, lost, err := m.trace.Read()
	all := map[string]float64{"not told apart": float64(lost)}
	for _, reasons := range traced {
		for reason, n := range reasons {
			all[reason] += float64(n)
		}
	}
	return all, err
}

// reasons are the exits per packet by reason, most frequent first, for people.
func (s sample) reasons() string {
	names := slices.SortedFunc(maps.Keys(s.exits), func(a, b string) int { return cmp.Compare(s.exits[b], s.exits[a]) })
	var parts []string
	for _, name := range names {
		if n := s.exits[name] / s.packets; n > 0 {
			parts = append(parts, fmt.Sprintf("%s %.3f", name, n))
		}
	}
	return strings.Join(parts[:min(len(parts), 6)], ", ")
}

// cardInterrupts are those of the card's queues: Linux names their vectors virtioN-input.I and virtioN-output.I.
func cardInterrupts(s *wire.Snapshot) (in, out float64) {
	for _, r := range s.Interrupts.Rows {
		switch {
		case !strings.HasPrefix(r.Name, "virtio"):
		case strings.Contains(r.Name, "-input."):
			in += float64(r.Total)
		case strings.Contains(r.Name, "-output."):
			out += float64(r.Total)
		}
	}
	return in, out
}

// run boots an arm's guest and measures every load once.
func (a *arm) run(ctx context.Context, c *comparison) ([]sample, error) {
	m, err := start(ctx, c.setup, a, a.quiet()...)
	if err != nil {
		return nil, err
	}
	defer m.close()
	var all []sample
	for i := range loads {
		s, err := m.measure(ctx, &loads[i], &c.sizes)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w\n%s", a.name, loads[i].name, err, &m.output)
		}
		c.progress("%s: %s: %.1f %s, %.3f exits (%s) and %.3f interrupts per packet, %.0f frames in with %.0f interrupts, %.0f out with %.0f, %.2f s of the VMM's own", a.name, loads[i].name,
			s.rate, loads[i].unit, s.exitsPerPacket(), s.reasons(), s.interruptsPerPacket(), s.rx, s.in, s.tx, s.out, s.own)
		all = append(all, s)
	}
	return all, m.end(ctx)
}

// quiet is what keeps a doorbell's report off the terminal.
func (a *arm) quiet() []string {
	if a.qemu {
		return nil
	}
	return []string{"--report", "none"}
}
