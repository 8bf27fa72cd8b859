//go:build lab

package tests

import (
	"strings"
	"testing"
)

// TestMeasureZeroCopy: small messages are cheaper copied than moved; what is moved takes faults or shootdowns that what is copied does not, and shootdowns
// only where another thread runs in the same address space.
func TestMeasureZeroCopy(t *testing.T) {
	e := experiment(t, "zerocopy")
	sizes, crossings := 0, 0
	for _, row := range e.Rows {
		if _, ok := row["crossing_bytes"]; ok {
			crossings++
			continue
		}
		sizes++
		threads, size := number(t, row, "threads"), number(t, row, "size_bytes")
		if size <= 512 {
			for _, way := range []string{"remap", "exchange"} {
				if ratio := number(t, row, way+"_time_ratio"); ratio <= 1 {
					t.Errorf("%.0f bytes, %.0f threads: %s took %.2f of copying's time", size, threads, way, ratio)
				}
			}
		}
		moved, copied := number(t, row, "remap_faults_per_message"), number(t, row, "copy_faults_per_message")
		if pages := max(1, size/4096); moved < pages-0.1 || copied > 0.1 {
			t.Errorf("%.0f bytes, %.0f threads: %.2f faults of remapping, %.2f of copying", size, threads, moved, copied)
		}
		remapped, exchanged := number(t, row, "remap_shootdowns_per_message"), number(t, row, "exchange_shootdowns_per_message")
		// Shootdowns are the whole host's, whose other processes have some: of a large message's, of which a round has few, half of what two threads take.
		stray := 0.5
		if size >= 1<<20 {
			stray = 2.5
		}
		if threads == 1 && remapped+exchanged > stray || threads == 2 && size <= 1<<20 && (remapped > 2.5 || exchanged > 3.5) {
			t.Errorf("%.0f bytes, %.0f threads: %.2f and %.2f shootdowns", size, threads, remapped, exchanged)
		}
		// A thread that does not run has nothing to be told.
		if ran, ok := row["others_ran_share"].(float64); threads == 2 && ok && ran > 0.9 && (remapped < 1 || exchanged < 2) {
			t.Errorf("%.0f bytes, %.0f threads: %.2f and %.2f shootdowns", size, threads, remapped, exchanged)
		}
	}
	if sizes != 16 || crossings != 4 || !strings.Contains(e.Finding, "with 2 threads") {
		t.Errorf("%d sizes, %d crossings: %s", sizes, crossings, e.Finding)
	}
}
