package vmm

import (
	"testing"

	"doorbell/internal/kvm"
	"doorbell/internal/kvmtrace"
	"doorbell/internal/ledger"
)

// book is a ledger whose vCPUs left the guest for I/O n times each.
func book(n ...int) *ledger.Ledger {
	l := ledger.New(len(n))
	for i, times := range n {
		for range times {
			l.VCPU(i).Exit(kvm.ExitIo)
		}
	}
	return l
}

// TestSumsBalance: whatever the sources say, the reasons of each vCPU and of all sum to KVM's own count.
func TestSumsBalance(t *testing.T) {
	stats := []map[string]uint64{{"exits": 100, "io_exits": 30, "halt_exits": 5}, {"exits": 50, "io_exits": 1}}
	for _, c := range []struct {
		name   string
		traced kvmtrace.Exits
		source string
		other  int64
	}{
		{"the tracepoint sees less", kvmtrace.Exits{0: {"io": 30, "npf": 60}, 1: {"hlt": 50}}, sourceTracepoint, 10},
		{"it sees more", kvmtrace.Exits{0: {"io": 30, "npf": 90}, 1: {"hlt": 50}}, sourceTracepoint, -20},
		{"it saw nothing of one vCPU", kvmtrace.Exits{0: {"io": 100}}, sourceTracepoint, 50},
		{"there is none", nil, sourceStats, 114},
	} {
		t.Run(c.name, func(t *testing.T) {
			var a Account
			a.countExits(stats, c.traced, 0, book(30, 1))
			if a.ExitsTotal == nil || *a.ExitsTotal != 150 || sum(a.ExitsByReason) != 150 {
				t.Errorf("total %v, reasons sum to %d; want 150", a.ExitsTotal, sum(a.ExitsByReason))
			}
			if a.ExitsByReason[Other] != c.other || a.ExitsSource != c.source {
				t.Errorf("other %d from %s, want %d from %s", a.ExitsByReason[Other], a.ExitsSource, c.other, c.source)
			}
			for i, want := range []uint64{100, 50} {
				if v := a.ExitsByVCPU[i]; v.Exits != want || sum(v.ByReason) != int64(want) {
					t.Errorf("vCPU %d: %d exits, reasons sum to %d; want %d", i, v.Exits, sum(v.ByReason), want)
				}
			}
			if a.UserspaceReasons["io"] != 31 {
				t.Errorf("userspace reasons %v", a.UserspaceReasons)
			}
		})
	}
}

// TestWithoutStatistics: an old kernel has a null, a reason for it, and what userspace saw.
func TestWithoutStatistics(t *testing.T) {
	var a Account
	a.countExits([]map[string]uint64{nil}, nil, 0, book(7))
	if a.ExitsTotal != nil || a.Missing["exits_total"] == "" {
		t.Errorf("total %v, missing %v", a.ExitsTotal, a.Missing)
	}
	if a.ExitsByReason["io"] != 7 || a.ExitsByVCPU[0].Exits != 7 || a.ExitsSource != sourceLedger {
		t.Errorf("%+v", a)
	}
}

// TestDroppedEventsAreSaid: exits that the histogram had no room for are in other, and the report says so.
func TestDroppedEventsAreSaid(t *testing.T) {
	var a Account
	a.countExits([]map[string]uint64{{"exits": 10}}, kvmtrace.Exits{0: {"io": 6}}, 4, book(6))
	if a.ExitsByReason[Other] != 4 || a.Missing["exits_by_reason"] == "" {
		t.Errorf("other %d, missing %v", a.ExitsByReason[Other], a.Missing)
	}
}
