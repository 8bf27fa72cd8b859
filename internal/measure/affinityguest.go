package measure

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"doorbell/internal/netconf"
	"doorbell/internal/traffic"
	"doorbell/internal/traffic/wire"
)

// arrange has the guest set itself up for an arm, and returns the queue on which its flow comes in.
func (a affinityArm) arrange(ctx context.Context, g *traffic.Guest, vcpus int) (queue int, err error) {
	now, err := g.Snapshot(ctx)
	if err != nil {
		return 0, err
	}
	pairs := 1
	if a.spread {
		pairs = vcpus
	}
	if now.Channels == nil || int(now.Channels.MaxCombined) < pairs {
		return 0, fmt.Errorf("the card has no %d queue pairs", pairs)
	}
	queue = pairs - 1
	// Linux keeps queues that are in the table. With their number it sets the vectors' affinities, and the card goes back to a table of its own.
	first, then := wire.Configure{}, wire.Configure{Combined: pairs}
	if now.RSS != nil && len(now.RSS.Indirection) > 0 { // a card with one pair has an empty one
		first.RSS, then.RSS = &netconf.RSS{Indirection: []uint32{0}}, &netconf.RSS{Indirection: []uint32{uint32(queue)}}
	}
	if _, err := g.Configure(ctx, first); err != nil {
		return 0, err
	}
	if now, err = g.Configure(ctx, then); err != nil {
		return 0, err
	}
	set, err := a.settings(&now, queue, vcpus)
	if err != nil {
		return 0, err
	}
	_, err = g.Configure(ctx, set)
	return queue, err
}

// settings are what is to be set for the queues that the guest has now.
func (a affinityArm) settings(now *wire.Snapshot, queue, vcpus int) (wire.Configure, error) {
	set := wire.Configure{IRQAffinity: map[string]string{}, RPS: map[string]string{}}
	cpus := fmt.Sprintf("0-%d", vcpus-1)
	if cpu := a.vector.cpu(vcpus); cpu >= 0 {
		cpus = strconv.Itoa(cpu)
	}
	set.CPUs = a.apps(vcpus)
	for _, v := range now.Affinity {
		// Both of the pair's: what the guest sends is completed where the rest of its flow is.
		if strings.HasSuffix(v.Name, fmt.Sprintf("-input.%d", queue)) || strings.HasSuffix(v.Name, fmt.Sprintf("-output.%d", queue)) {
			set.IRQAffinity[v.IRQ] = cpus
		}
	}
	if len(set.IRQAffinity) == 0 {
		return set, errors.New("the guest's /proc/interrupts has no vector of the queue's")
	}
	for _, q := range now.Queues {
		if !strings.HasPrefix(q.Name, "rx-") {
			continue
		}
		set.RPS[q.Name] = "0"
		if a.rps {
			set.RPS[q.Name] = cpuMask(a.app.cpu(vcpus))
		}
	}
	return set, nil
}

// apps are the vCPUs that the application may run on.
func (a affinityArm) apps(vcpus int) []int {
	if cpu := a.app.cpu(vcpus); cpu >= 0 {
		return []int{cpu}
	}
	all := make([]int, vcpus)
	for i := range all {
		all[i] = i
	}
	return all
}

// cpuMask is one CPU as the kernel reads a bit mask: words of 32 bits in hexadecimal digits, the highest first.
func cpuMask(cpu int) string {
	return fmt.Sprintf("%x", uint32(1)<<(cpu%32)) + strings.Repeat(",00000000", cpu/32)
}

// queueInterrupts is how often a receive queue's vector interrupted the guest. On another CPU than wanted, -1 for any, it must not have.
func queueInterrupts(counted *wire.Snapshot, queue, wanted int) (uint64, error) {
	for _, row := range counted.Interrupts.Rows {
		if !strings.HasSuffix(row.Name, fmt.Sprintf("-input.%d", queue)) {
			continue
		}
		for i, n := range row.PerCPU {
			if i >= len(counted.Interrupts.CPUs) { // the table is the guest's word
				return 0, fmt.Errorf("the guest's /proc/interrupts has %d counts of queue %d for %d CPUs", len(row.PerCPU), queue, i)
			}
			if cpu := counted.Interrupts.CPUs[i]; n > 0 && wanted >= 0 && cpu != wanted {
				return 0, fmt.Errorf("the vector of queue %d interrupted CPU %d %d times instead of CPU %d", queue, cpu, n, wanted)
			}
		}
		return row.Total, nil
	}
	return 0, fmt.Errorf("the guest's /proc/interrupts has no vector of queue %d", queue)
}

// affinityFinding is the arms' difference in one sentence; each is called by what is before its colon or comma.
func affinityFinding(rows []map[string]any) string {
	if len(rows) == 0 {
		return "nothing was measured"
	}
	parts := make([]string, len(rows))
	for i, row := range rows {
		name := row["arm"].(string)
		if end := strings.IndexAny(name, ":,"); end >= 0 {
			name = name[:end]
		}
		parts[i] = fmt.Sprintf("%s %s", name, fixed(row["ipis_per_packet"].(float64), 2))
	}
	return "IPIs for each packet that the guest received: " + strings.Join(parts, ", ")
}
