package vmm

import (
	"encoding/json"
	"strings"
	"testing"

	"doorbell/internal/guestreport"
)

// honest is about what a guest with n CPUs reports.
func honest(n int) *guestreport.Report {
	r := &guestreport.Report{Kernel: "6.1.0", CPUsOnline: n}
	for _, s := range []*guestreport.Snapshot{&r.Before, &r.After} {
		for cpu := range n {
			s.Interrupts.CPUs = append(s.Interrupts.CPUs, cpu)
			s.Softirqs.CPUs = append(s.Softirqs.CPUs, cpu)
			s.Stat.CPUs = append(s.Stat.CPUs, guestreport.CPUTime{CPU: cpu, User: 1 << 30, System: 1 << 30, Idle: 1 << 30})
		}
		for range 80 {
			row := guestreport.Interrupt{IRQ: "LOC", Chip: "PCI-MSI", Name: "a long name of an interrupt", PerCPU: make([]uint64, n)}
			for i := range row.PerCPU {
				row.PerCPU[i] = 1 << 30
			}
			s.Interrupts.Rows = append(s.Interrupts.Rows, row)
		}
	}
	return r
}

func TestParseReportTakesHonestGuests(t *testing.T) {
	for _, n := range []int{1, 2, 64, 1024} {
		b, err := json.Marshal(honest(n))
		if err != nil {
			t.Fatal(err)
		}
		if r, err := parseReport(b, n); err != nil || r.CPUsOnline != n {
			t.Errorf("%d CPUs, %d bytes: %v", n, len(b), err)
		}
	}
}

// A hostile guest's report costs neither memory nor time: it is refused before it is looked at, or when it claims too much.
func TestParseReportRefusesHostileGuests(t *testing.T) {
	huge := `{"after":{"interrupts":{"rows":[` + strings.Repeat("{},", 5<<20) + `{}]}}}`
	if _, err := parseReport([]byte(huge), 2); err == nil {
		t.Error("a report of 16 MiB was taken")
	}
	b, err := json.Marshal(honest(8))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parseReport(b, 2); err == nil || !strings.Contains(err.Error(), "8 CPUs") {
		t.Errorf("eight CPUs in a guest with two: %v", err)
	}
	if _, err := parseReport([]byte("{"), 2); err == nil {
		t.Error("half a document was taken")
	}
}

func FuzzParseReport(f *testing.F) {
	b, _ := json.Marshal(honest(2))
	f.Add(b)
	f.Add([]byte(`{"after":{"softirqs":{"rows":[{"per_cpu":[1,2,3]}]}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := parseReport(b, 2); err == nil {
			r.Delta()
		}
	})
}
