package measure

import (
	"strings"
	"testing"
)

// TestCountingReport: a ratio is shown as percent, with its bounds; what was not measured has no row; an emulated host has no times.
func TestCountingReport(t *testing.T) {
	c := &countingCosts{ratios: []spread{{1.01, 1, 1.02}, {1.05}, nil}, plain: []spread{{1000, 1100, 900}, {1000}, nil}, missing: map[string]string{countings[2].name: "no tracefs"}}
	e := c.report(false)
	if len(e.Rows) != 2 || e.Missing[countings[2].name] != "no tracefs" {
		t.Fatalf("%v, %v", e.Rows, e.Missing)
	}
	near := func(name string, want float64) {
		if got := e.Rows[0][name].(float64); got < want-1e-9 || got > want+1e-9 {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	near("round_trip_percent", 1)
	near("round_trip_percent_low", 0)
	near("round_trip_percent_high", 2)
	near("round_trip_ratio", 1.01)
	near("round_trip_without_ns", 1000)
	if !strings.HasSuffix(e.Finding, "a device's register 1.00 %; ledger, a port without a device 5.00 %") {
		t.Errorf("%q", e.Finding)
	}
	if e = c.report(true); e.Rows[0]["round_trip_without_ns"] != nil || e.Rows[0]["not_measured"] == nil {
		t.Errorf("%v", e.Rows[0])
	}
}
