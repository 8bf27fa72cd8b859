package measure

import (
	"testing"
	"time"

	"doorbell/vcpu"
)

// scripted is a controller that lets its vCPU run, or not, as it is told.
type scripted struct {
	vcpu.Controller
	run bool
}

func (s *scripted) Enter(*vcpu.CPU) (bool, error) { return s.run, nil }
func (s *scripted) Left(*vcpu.CPU)                {}

// TestTurns: what is timed is KVM_RUN's return to its next entry, without the sleep before the interrupt that ended it; and nothing while it is off.
func TestTurns(t *testing.T) {
	times, s := newLatencies(), &scripted{run: true}
	x := &turns{Controller: s, to: times.turning, base: time.Now()}
	turn := func(naps int) {
		x.Left(nil)
		for range naps {
			s.run = false
			if run, err := x.Enter(nil); run || err != nil {
				t.Errorf("%v, %v", run, err)
			}
		}
		if naps > 0 {
			time.Sleep(50 * time.Millisecond)
			x.wrote.Store(int64(time.Since(x.base)))
		}
		s.run = true
		_, _ = x.Enter(nil)
	}
	_, _ = x.Enter(nil) // the first entry follows no return
	turn(0)
	if n := times.turning.TotalCount(); n != 0 {
		t.Errorf("%d turns while it is off", n)
	}
	x.on.Store(true)
	turn(0)
	turn(2)
	_, _ = x.Enter(nil)
	if n, longest := times.turning.TotalCount(), time.Duration(times.turning.Max()); n != 2 || longest > 40*time.Millisecond {
		t.Errorf("%d turns, the longest of %v", n, longest)
	}
	if n := testing.AllocsPerRun(100, func() { turn(0) }); n != 0 {
		t.Errorf("%v allocations for a turn", n)
	}
}

// TestLatencyRow: the histogram is in the row, whole, or there is a reason for each null.
func TestLatencyRow(t *testing.T) {
	l := newLatencies()
	for i := range 100 {
		record(l.delivery, time.Duration(i+1)*time.Microsecond)
		record(l.sending, 0) // a clock that did not advance
	}
	row := map[string]any{}
	l.into(row, "")
	if p50, most := row["latency_p50_ns"].(int64), row["latency_max_ns"].(int64); p50 < 49_900 || p50 > 51_000 || most < 99_900 || most > 100_200 {
		t.Errorf("p50 %d, max %d", p50, most)
	}
	all := row["latency_histogram_ns"].([]map[string]any)
	if last := all[len(all)-1]; last["interrupts"] != int64(100) || last["percentile"] != 100.0 {
		t.Errorf("%v", all)
	}
	missing := row["not_measured"].(map[string]string)
	if row["sender_wait_p99_ns"] != int64(1) || row["vcpu_thread_wait_p50_ns"] != nil || missing["vcpu_thread_wait_p50_ns"] == "" || len(missing) != len(rowPercentiles) {
		t.Errorf("%v", row)
	}
	row = map[string]any{}
	l.into(row, emulatedClock)
	missing = row["not_measured"].(map[string]string)
	for name, v := range row {
		if name != "not_measured" && (v != nil || missing[name] != emulatedClock) {
			t.Errorf("%s is %v: %q", name, v, missing[name])
		}
	}
	if len(row) != 1+3*len(rowPercentiles)+1 {
		t.Errorf("%v", row)
	}
}
