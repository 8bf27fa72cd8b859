package network

import (
	"strings"
	"testing"

	"doorbell/tests/compare/rounds"
)

// made are results in which doorbell's arms have factors of QEMU's rate, exits and interrupts in every load.
func made(rate, exits, interrupts float64) results {
	r := results{}
	for i := range arms {
		a := &arms[i]
		s := sample{rate: 100, packets: 1000, exits: map[string]float64{"msr": 600, "npf": 400}, in: 60, out: 40, own: 1}
		if !a.qemu {
			s.rate *= rate
			s.exits["msr"] += 1000 * (exits - 1)
			s.in += 100 * (interrupts - 1)
		}
		all := make([]sample, len(loads))
		for l := range all {
			all[l] = s
		}
		r.add(a, all)
	}
	return r
}

// What is promised is judged, throughput only where times are real.
func TestPromises(t *testing.T) {
	for _, tt := range []struct {
		rate, exits, interrupts float64
		emulated                bool
		want                    string // that each line contains; empty for no line
		lines                   int
	}{
		{2, 1, 1, false, "", 0},
		{1.5, 1, 1, false, "throughput, less than 2.0", 2},
		{0.9, 1, 1, false, "throughput, less than", 4},
		{0.9, 1, 1, true, "", 0},
		{2, 1.2, 1, false, "1.20 of QEMU's exits per packet", 2},
		{2, 1.2, 1, true, "", 0},
		{2, 1, 1.5, true, "1.50 of QEMU's interrupts per packet", 2},
	} {
		got := made(tt.rate, tt.exits, tt.interrupts).broken(tt.emulated)
		if len(got) != tt.lines {
			t.Errorf("%+v: %q", tt, got)
		}
		for _, line := range got {
			if !strings.Contains(line, tt.want) {
				t.Errorf("%+v: %q", tt, line)
			}
		}
	}
}

// Arms without a baseline are shown, without ratios, and not judged.
func TestTable(t *testing.T) {
	r := made(3, 0.5, 0.25)
	var all []*arm
	for i := range arms {
		all = append(all, &arms[i])
	}
	var out strings.Builder
	r.print(&out, all, rounds.Rounds{Count: 1, Seed: 7})
	for _, want := range []string{"seed 0x7", "TCP stream down", "doorbell tap", "QEMU user", "3.00", "0.25"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, &out)
		}
	}
	alone := results{all[0]: r[all[0]]}
	out.Reset()
	alone.print(&out, all[:1], rounds.Rounds{Count: 1})
	if b := alone.broken(false); len(b) != 0 || !strings.Contains(out.String(), "doorbell tap") {
		t.Errorf("%q\n%s", b, &out)
	}
}
