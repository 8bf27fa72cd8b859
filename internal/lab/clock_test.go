package lab

import (
	"strings"
	"testing"
)

// TestLabKeepsItsClock: the host's kernel goes by the frequency of its TSC that it had when KVM was loaded. Where it measures that anew, guests' timers may
// come minutes late.
func TestLabKeepsItsClock(t *testing.T) {
	got := runCommand(t, hostConfig(t), "test:kernel-log", "clocksource: Switched to clocksource tsc")
	if got.err != nil || got.ExitStatus != 0 {
		t.Fatalf("status %d, %v; stderr %q", got.ExitStatus, got.err, got.stderr)
	}
	if strings.Contains(got.stdout, "Refined TSC") {
		t.Error(got.stdout)
	}
}
