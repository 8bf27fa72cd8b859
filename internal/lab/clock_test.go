package lab

import (
	"math"
	"strings"
	"testing"
)

// TestLabKeepsItsClock: the host's kernel knows its TSC and goes by it when KVM is loaded, and its local APIC's timer as well. Where it measures the TSC
// anew after that, guests' timers may come minutes late; where it knows none, guests take no interrupts.
func TestLabKeepsItsClock(t *testing.T) {
	const kvm, tsc = "kvm: Nested Paging enabled", "clocksource: Switched to clocksource tsc"
	got := runCommand(t, hostConfig(t), "test:kernel-log", kvm)
	if got.err != nil || got.ExitStatus != 0 {
		t.Fatalf("status %d, %v; stderr %q", got.ExitStatus, got.err, got.stderr)
	}
	if !strings.Contains(got.stdout, tsc+"\n") {
		t.Errorf("KVM was loaded before %q:\n%s", tsc, got.stdout)
	}
	for _, complaint := range []string{"TSC unstable", "APIC timer disabled"} {
		if strings.Contains(got.stdout, complaint) {
			t.Errorf("%s:\n%s", complaint, got.stdout)
		}
	}
}

// TestTSC: two measurements of this machine's counter agree.
func TestTSC(t *testing.T) {
	first, second := float64(sampleTSC().khz()), float64(sampleTSC().khz())
	if off := math.Abs(first-second) / first; first == 0 || off > 200e-6 {
		t.Errorf("%.0f and %.0f kHz", first, second)
	}
}
