package measure

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"doorbell/internal/guestreport"
	"doorbell/internal/traffic/wire"
)

// TestAffinitySettings: each arm sets the vectors of its flow's queue, and clears what another arm has left.
func TestAffinitySettings(t *testing.T) {
	now := &wire.Snapshot{
		Affinity: []wire.Affinity{{IRQ: "1", Name: "i8042"}, {IRQ: "25", Name: "virtio0-input.0"}, {IRQ: "26", Name: "virtio0-output.0"}, {IRQ: "27", Name: "virtio0-input.1"}, {IRQ: "28", Name: "virtio0-output.1"}},
		Queues:   []wire.Queue{{Name: "rx-0", CPUs: "2"}, {Name: "rx-1"}, {Name: "tx-0", CPUs: "1"}},
	}
	for i, want := range []struct {
		queue    int
		irqs     map[string]string
		firstRPS string
	}{
		{1, map[string]string{"27": "1", "28": "1"}, "0"},
		{1, map[string]string{"27": "0", "28": "0"}, "0"},
		{0, map[string]string{"25": "0", "26": "0"}, "2"},
		{0, map[string]string{"25": "0-1", "26": "0-1"}, "0"},
	} {
		arm := affinityArms[i]
		set, err := arm.settings(now, want.queue, 2)
		if err != nil || !maps.Equal(set.IRQAffinity, want.irqs) || set.RPS["rx-0"] != want.firstRPS || len(set.RPS) != 2 {
			t.Errorf("%s: %+v, %v", arm.name, set, err)
		}
	}
	if _, err := affinityArms[0].settings(now, 2, 3); err == nil {
		t.Error("a queue without vectors")
	}
}

func TestAffinityPossible(t *testing.T) {
	for _, tt := range []struct{ vcpus, processors, arms int }{{2, 2, 4}, {2, 1, 2}, {1, 2, 2}, {4, 8, 4}} {
		n := 0
		for _, a := range affinityArms {
			if a.possible(tt.vcpus, tt.processors) == nil {
				n++
			}
		}
		if n != tt.arms {
			t.Errorf("%+v: %d arms", tt, n)
		}
	}
}

func TestCPUMask(t *testing.T) {
	for cpu, want := range map[int]string{0: "1", 1: "2", 31: "80000000", 32: "1,00000000", 65: "2,00000000,00000000"} {
		if got := cpuMask(cpu); got != want {
			t.Errorf("CPU %d: %s, want %s", cpu, got, want)
		}
	}
}

func TestQueueInterrupts(t *testing.T) {
	s := &wire.Snapshot{Snapshot: guestreport.Snapshot{Interrupts: guestreport.Interrupts{CPUs: []int{0, 1}, Rows: []guestreport.Interrupt{
		{IRQ: "25", Name: "virtio0-input.0", PerCPU: []uint64{3, 0}, Total: 3}, {IRQ: "27", Name: "virtio0-input.1", PerCPU: []uint64{1, 5}, Total: 6},
	}}}}
	if n, err := queueInterrupts(s, 0, 0); n != 3 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := queueInterrupts(s, 1, -1); n != 6 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := queueInterrupts(s, 1, 1); err == nil || err.Error() != "the vector of queue 1 interrupted CPU 0 1 times instead of CPU 1" {
		t.Errorf("error %v", err)
	}
	if _, err := queueInterrupts(s, 2, 1); err == nil {
		t.Error("a queue without a vector")
	}
}

// TestAffinityExperiment: times are ratios to the first arm; what failed has its reason, and its rounds that did not have their row.
func TestAffinityExperiment(t *testing.T) {
	rows := make([]affinityRow, len(affinityArms))
	full := func(ipis, latency float64) affinityRow {
		one := spread{1}
		return affinityRow{packets: 500, interrupts: one, reschedules: spread{0}, calls: spread{ipis}, ipis: spread{ipis}, woke: one, exitsEach: spread{3}, ownEach: spread{0.1}, latency: spread{latency}}
	}
	rows[0], rows[1] = full(0.5, 200), full(1.5, 300)
	rows[1].err = errors.New("a datagram was lost")
	rows[2].err = errors.New("refused\ntwice")
	e := affinityExperiment(rows, rounds{n: 3}, 2, errors.New("the guest crashed"))
	if len(e.Rows) != 2 || e.Rows[1]["latency_ratio"] != 1.5 || e.Rows[1]["ipis_per_packet"] != 1.5 || len(e.Table.Rows[0]) != len(e.Table.Columns) {
		t.Errorf("%v", e.Rows)
	}
	for arm, want := range map[string]string{
		affinityArms[1].name + " (2 of 3 rounds)": "a datagram was lost", affinityArms[2].name: "refused; twice", affinityArms[3].name: "the guest crashed; it did not run",
	} {
		if e.Missing[arm] != want {
			t.Errorf("%s: %q, want %q", arm, e.Missing[arm], want)
		}
	}
	if !strings.HasSuffix(e.Finding, "received: aligned 0.50, crossed 1.50") {
		t.Errorf("%q", e.Finding)
	}
	if e = affinityExperiment(make([]affinityRow, len(affinityArms)), rounds{n: 3}, 2, nil); e.Finding != "nothing was measured" || len(e.Missing) != len(affinityArms) {
		t.Errorf("%q, %v", e.Finding, e.Missing)
	}
}
