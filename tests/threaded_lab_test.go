//go:build lab

package tests

import (
	"strings"
	"testing"
)

// TestMeasureThreaded: a plain kernel runs a handler in the hard IRQ; threadirqs and PREEMPT_RT run it in the interrupt's own thread. What it puts off runs
// as a softirq, in a kworker or in the thread, by what it asked for; with a threaded handler a softirq runs in that thread. Its guests are carried along:
// lab --kernel debian:irqprobe --kernel debian:rt+irqprobe.
func TestMeasureThreaded(t *testing.T) {
	guestTest(t, func(t testing.TB) {
		e := experiment(t, "threaded", "-c", "2")
		const kernels, kinds, loads = 4, 5, 2
		if len(e.Rows) != kernels*kinds*loads {
			t.Fatalf("%d rows", len(e.Rows))
		}
		for _, row := range e.Rows {
			name := row["arm"].(string)
			threaded := strings.HasPrefix(name, "PREEMPT_RT") || strings.Contains(name, "threadirqs")
			if strings.HasPrefix(name, "PREEMPT_RT") != strings.Contains(row["kernel"].(string), "-rt-") {
				t.Errorf("%s ran on Linux %s", name, row["kernel"])
			}
			handler := "hard IRQ"
			if threaded {
				handler = "irq thread"
			}
			if only := contexts(row, "handler_contexts"); only != handler {
				t.Errorf("%s: the handler ran in %s, want %s", name, only, handler)
			}
			bottom := contexts(row, "bottom_contexts")
			for kind, want := range map[string]string{"hard": handler, "softirq": "softirq", "tasklet": "softirq", "work": "kworker", "thread": "irq thread"} {
				if row["kind"] == kind && !strings.Contains(bottom, want) {
					t.Errorf("%s: the bottom half ran in %s, want %s", name, bottom, want)
				}
			}
			if threaded && row["kind"] == "tasklet" && !strings.Contains(bottom, "softirq in irq thread") {
				t.Errorf("%s: the softirq ran in %s, want the interrupt's thread", name, bottom)
			}
			// Guest-side truth: one handler and one bottom half for each interrupt; in bursts not more than were raised.
			raised, served, bottoms := number(t, row, "raised"), number(t, row, "served"), number(t, row, "bottom_halves")
			if raised == 0 || served != raised || bottoms != raised {
				t.Errorf("%s: %.0f raised, %.0f served, %.0f bottom halves", name, raised, served, bottoms)
			}
			if number(t, row, "top_ratio") <= 0 || row["top_p50_ns"] != nil {
				t.Errorf("%s: times of an emulated host: %v, %v", name, row["top_ratio"], row["top_p50_ns"])
			}
		}
	})
}

// contexts are the names under which a row counts where a half ran, joined.
func contexts(row map[string]any, name string) string {
	var names []string
	if counts, ok := row[name].(map[string]any); ok {
		for context := range counts {
			names = append(names, context)
		}
	}
	return strings.Join(names, ", ")
}
