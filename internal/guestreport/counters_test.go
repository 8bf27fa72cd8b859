package guestreport

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSoftirqs(t *testing.T) {
	got, err := ParseSoftirqs(sample(t, "host.softirqs"))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got.CPUs, []int{0, 1}) || len(got.Rows) != 10 {
		t.Errorf("CPUs %v and %d rows, want [0 1] and 10", got.CPUs, len(got.Rows))
	}
	before, err := ParseSoftirqs("  CPU0 CPU1\n HI: 1 2\n TIMER: 10 20\n")
	if err != nil {
		t.Fatal(err)
	}
	after, err := ParseSoftirqs("  CPU0 CPU1\n HI: 1 3\n TIMER: 15 20\n RCU: 4 4\n")
	if err != nil {
		t.Fatal(err)
	}
	want := Softirqs{CPUs: []int{0, 1}, Rows: []Softirq{
		{Name: "HI", PerCPU: []uint64{0, 1}, Total: 1},
		{Name: "TIMER", PerCPU: []uint64{5, 0}, Total: 5},
		{Name: "RCU", PerCPU: []uint64{4, 4}, Total: 8},
	}}
	if diff := cmp.Diff(want, after.Since(&before)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := ParseSoftirqs("CPU0 CPU1\nHI: 1\n"); err == nil || !strings.Contains(err.Error(), `row "HI" has 1 counts for 2 CPUs`) {
		t.Errorf("short row: error %v", err)
	}
}

func TestStat(t *testing.T) {
	got, err := ParseStat("cpu  3 0 5 7 0 0 1 0 0 0\ncpu0 1 0 2 3 0 0 1 9 0 0\ncpu3 2 0 3 4 0 0 0 0 0 0\nintr 55 0 1 2\nctxt 77\nbtime 1\nprocesses 88\nprocs_running 1\nsoftirq 99 1 2\n")
	if err != nil {
		t.Fatal(err)
	}
	want := Stat{
		CPUs: []CPUTime{
			{CPU: 0, User: 1, System: 2, Idle: 3, Softirq: 1, Steal: 9},
			{CPU: 3, User: 2, System: 3, Idle: 4},
		},
		Interrupts: 55, Softirqs: 99, ContextSwitches: 77, Processes: 88,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	later := want
	later.CPUs = []CPUTime{{CPU: 0, User: 4, System: 2, Idle: 2, Softirq: 1, Steal: 10}, {CPU: 3, User: 2, System: 3, Idle: 9}}
	later.Interrupts, later.ContextSwitches = 65, 80
	wantDelta := Stat{
		CPUs:       []CPUTime{{CPU: 0, User: 3, Steal: 1}, {CPU: 3, Idle: 5}}, // idle time went backwards: 0
		Interrupts: 10, ContextSwitches: 3,
	}
	if diff := cmp.Diff(wantDelta, later.Since(&want)); diff != "" {
		t.Errorf("delta (-want +got):\n%s", diff)
	}
}

func TestStatOfAHost(t *testing.T) {
	got, err := ParseStat(sample(t, "host.stat"))
	if err != nil {
		t.Fatal(err)
	}
	if len(got.CPUs) != 2 || got.CPUs[1].Idle == 0 || got.Interrupts == 0 || got.Softirqs == 0 {
		t.Errorf("got %+v: want two CPUs and counts", got)
	}
}

func TestStatErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                                "no CPU in it",
		"cpu0 1 2\n":                      `"cpu0": 2 times`,
		"cpux 1 2 3 4 5 6 7 8\n":          "not a CPU number",
		"cpu0 1 2 3 4 5 6 7 8\nintr many": `"intr" has no count`,
	} {
		if _, err := ParseStat(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want one with %q", text, err, want)
		}
	}
}

// The names are what scripts read: they may not change unnoticed.
func TestReportJSON(t *testing.T) {
	r := Report{
		Kernel: "6.1.0", CPUsOnline: 1,
		Workload: WorkloadResult{Spec: "none"},
		After: Snapshot{
			Interrupts: Interrupts{CPUs: []int{0}, Rows: []Interrupt{{IRQ: "4", Chip: "IO-APIC", HWIRQ: "4", Trigger: "edge", Name: "ttyS0", PerCPU: []uint64{9}, Total: 9}}},
		},
	}
	got, err := json.Marshal(r.After.Interrupts)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"cpus":[0],"rows":[{"irq":"4","chip":"IO-APIC","hwirq":"4","trigger":"edge","name":"ttyS0","per_cpu":[9],"total":9}]}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	all, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(all, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, back); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	delta := back.Delta()
	if row := delta.Interrupts.Row("4"); row == nil || row.Total != 9 {
		t.Errorf("row 4 against an empty snapshot is %+v, want 9", row)
	}
}

func FuzzParseSoftirqs(f *testing.F) {
	f.Add(sample(f, "host.softirqs"))
	f.Fuzz(func(t *testing.T, text string) {
		if s, err := ParseSoftirqs(text); err == nil {
			s.Since(&s)
		}
	})
}

func FuzzParseStat(f *testing.F) {
	f.Add(sample(f, "host.stat"))
	f.Add("cpu0 1 2 3 4 5 6 7 8\nintr 1\n")
	f.Fuzz(func(t *testing.T, text string) {
		if s, err := ParseStat(text); err == nil {
			s.Since(&s)
		}
	})
}
