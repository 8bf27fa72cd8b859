package measure

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"doorbell/internal/report"
	"doorbell/vmm"
)

func TestZeroCopyCrossing(t *testing.T) {
	sizes := []int{1 << 10, 4 << 10, 16 << 10}
	for _, c := range []struct {
		ratios []float64
		want   float64 // 0: none
	}{
		{[]float64{4, 2, 1}, 0},
		{[]float64{0.5, 0.5, 1.5}, 0},
		{[]float64{0.9, 0.5, 0.2}, 1 << 10},
		{[]float64{8, 2, 0.5}, 8 << 10}, // halfway by the logarithm
		{[]float64{0.5, 2, 0.5}, 8 << 10},
		{[]float64{4, 0.25, 0.1}, 2 << 10},
	} {
		got := 0.0
		if at := crossing(sizes, c.ratios); at != nil {
			got = *at
		}
		if math.Abs(got-c.want) > 1e-6 {
			t.Errorf("%v cross at %v, want %v", c.ratios, got, c.want)
		}
	}
}

func TestZeroCopyNames(t *testing.T) {
	for bytes, want := range map[float64]string{64: "64 B", 4 << 10: "4 KiB", 1500: "1.5 KiB", 390_000: "381 KiB", 1 << 20: "1 MiB", 4 << 20: "4 MiB"} {
		if got := sizeName(bytes); got != want {
			t.Errorf("%v: %q, want %q", bytes, got, want)
		}
	}
	for processors, want := range map[int][]int{1: {1}, 2: {1, 2}, 3: {1, 2, 3}, 8: {1, 2, 8}} {
		if got := threadCounts(processors); !reflect.DeepEqual(got, want) {
			t.Errorf("%d processors: %v", processors, got)
		}
	}
}

// TestZeroCopyTransfers: by each way every message arrives, and moved pages cost the faults that they must.
func TestZeroCopyTransfers(t *testing.T) {
	runtime.LockOSThread() // faults are counted by thread
	defer runtime.UnlockOSThread()
	restore, err := noHugePages()
	if err != nil {
		t.Fatal(err)
	}
	defer restore()
	current, how, err := findMover()
	if err != nil {
		t.Fatal(err)
	}
	for name, move := range map[string]mover{how: current, "the way of old kernels": moveMapping} {
		for _, w := range zeroCopyWays(move) {
			for size, pages := range map[int]float64{64: 1, 5000: 2, 64 << 10: 16} {
				b, err := newBuffers(size)
				if err != nil {
					t.Fatal(err)
				}
				c, err := b.run(context.Background(), w.transfer, 3)
				if err != nil {
					t.Fatalf("%s by %s, %d bytes: %v", w.name, name, size, err)
				}
				want := 0.0
				if w.key == "remap" {
					want = pages
				}
				if c.messages != 3*len(b.sender) || math.Abs(c.faults-want) > 0.5 {
					t.Errorf("%s by %s, %d bytes: %d messages, %v faults each, want %v", w.name, name, size, c.messages, c.faults, want)
				}
				if err := b.close(); err != nil {
					t.Error(err)
				}
			}
		}
	}
}

// TestZeroCopyRefusal: a message that arrives other than it was sent is an error, and ctx's end is seen between batches.
func TestZeroCopyRefusal(t *testing.T) {
	b, err := newBuffers(5000)
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	late := 0
	for name, broken := range map[string]transfer{
		"nothing":       func(_, _, _ []byte, _ int) error { return nil },
		"the last byte": func(to, from, _ []byte, n int) error { copy(to, from[:n-1]); return nil },
		"once": func(to, from, _ []byte, n int) error {
			if late++; late == 2*len(b.sender) {
				return nil
			}
			return copyMessage(to, from, nil, n)
		},
	} {
		if _, err := b.run(context.Background(), broken, 2); err == nil || !strings.Contains(err.Error(), "did not arrive") {
			t.Errorf("%s: %v", name, err)
		}
	}
	refused := errors.New("refused")
	if _, err := b.run(context.Background(), func(_, _, _ []byte, _ int) error { return refused }, 2); !errors.Is(err, refused) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	stop := errors.New("interrupted")
	batches := 0
	_, err = b.run(ctx, func(to, from, _ []byte, n int) error {
		if batches++; batches == 3*len(b.sender) {
			cancel(stop)
		}
		return copyMessage(to, from, nil, n)
	}, 1000)
	if !errors.Is(err, stop) || batches != 3*len(b.sender) {
		t.Errorf("%v after %d messages", err, batches)
	}
}

// zeroCopyRun is the experiment, interrupted after a number of arms; 0: not at all.
func zeroCopyRun(t *testing.T, arms int) (e map[string]map[string]any, finding string, missing map[string]string, table [][]string) {
	t.Helper()
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	n := 0
	cfg := vmm.Config{Warn: func(string, ...any) {
		if n++; n == arms+1 && arms > 0 {
			cancel(errors.New("interrupted"))
		}
	}}
	doc, _, err := ZeroCopy(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	x := doc.Experiments[0]
	e = map[string]map[string]any{}
	for _, r := range x.Rows {
		e[r["arm"].(string)] = r
	}
	return e, x.Finding, x.Missing, append([][]string{x.Table.Columns}, x.Table.Rows...)
}

// TestZeroCopy: small messages are cheaper to copy, and of what moves pages the faults and the crossings are in the report.
func TestZeroCopy(t *testing.T) {
	rows, finding, missing, table := zeroCopyRun(t, 0)
	for _, cells := range table {
		t.Log(strings.Join(cells, " | "))
	}
	t.Log(finding)
	for _, key := range []string{"remap", "exchange"} {
		for _, size := range []string{"64 B", "512 B"} {
			if r := rows[size+", 1 thread"]; r == nil || r[key+"_time_ratio"].(float64) <= 1 {
				t.Errorf("%s of %s beats copying: %v; %v", key, size, r, missing)
			}
		}
	}
	if f := rows["4 MiB, 1 thread"]["remap_faults_per_message"].(float64); math.Abs(f-1024) > 10 {
		t.Errorf("%v faults for 1024 pages", f)
	}
	for _, name := range []string{"crossing, remapping, 1 thread", "crossing, exchanging, 1 thread"} {
		r := rows[name]
		if r == nil || (r["crossing_bytes"] == nil) != (r["not_measured"] != nil) {
			t.Errorf("%s: %v", name, r)
		}
	}
	if !strings.Contains(finding, "remapping ") || !strings.Contains(finding, "exchanging ") {
		t.Error(finding)
	}
}

// TestZeroCopyInterrupted: what was measured before the end has its row, the rest its reason.
func TestZeroCopyInterrupted(t *testing.T) {
	rows, finding, missing, _ := zeroCopyRun(t, 2)
	if len(rows) != 2 || missing["crossing, remapping, 1 thread"] == "" {
		t.Errorf("%d rows, %v", len(rows), missing)
	}
	interrupted := 0
	for _, why := range missing {
		if strings.HasPrefix(why, "interrupted; ") {
			interrupted++
		}
	}
	if interrupted == 0 || !strings.Contains(finding, "not all sizes") {
		t.Errorf("%q, %v", finding, missing)
	}
}

// TestZeroCopyReport: on an emulated host no time stands alone; what the host does not count is no 0.
func TestZeroCopyReport(t *testing.T) {
	ways := zeroCopyWays(moveMapping)
	counts := []*transferCounts{{messages: 7, ns: 10}, {messages: 7, ns: 40, faults: 1}, {messages: 7, ns: 5}}
	rows := []zeroCopyRow{
		{zeroCopyArm: zeroCopyArm{64, 1}, figures: map[string]spread{}},
		{zeroCopyArm: zeroCopyArm{512, 1}, figures: map[string]spread{}},
	}
	rows[0].add(ways, counts, 1)
	lost := errors.New("a message did not arrive")
	e, err := zeroCopyExperiment(rows, ways, true, func(e *report.Experiment, i int) bool {
		return missed(e, rows[i].name(), []error{nil, lost}[i], nil, len(rows[i].busy), 1)
	})
	if err != nil {
		t.Fatal(err)
	}
	r := e.Rows[0]
	if len(e.Rows) != 1 || e.Missing["512 B, 1 thread"] != "a message did not arrive" {
		t.Errorf("%v, %v", e.Rows, e.Missing)
	}
	if r["remap_time_ratio"] != 4.0 || r["exchange_time_ratio"] != 0.5 || r["exchange_speed_ratio"] != 2.0 || r["copy_ns"] != nil || r["not_measured"].(map[string]string)["remap_ns"] != emulatedClock {
		t.Errorf("%v", r)
	}
	if got := fmt.Sprint(e.Table.Rows[0][7:]); r["remap_shootdowns_per_message"] != nil || got != "[0.00 1.00 0.00 - - - -]" {
		t.Errorf("%v, %v", got, r)
	}
	if _, err := zeroCopyExperiment(rows[1:], ways, true, func(*report.Experiment, int) bool { return true }); err == nil {
		t.Error("a report of nothing")
	}
}
