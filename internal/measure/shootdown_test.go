package measure

import (
	"errors"
	"testing"

	"doorbell/internal/report"
)

// TestShootdownReport: a shootdown's exits are those beyond the control's in the same time; an arm that failed has its reason and no row.
func TestShootdownReport(t *testing.T) {
	rounds := [][]shootdownRound{
		nil,
		{{ns: 1e9, shots: 10, first: 1000, last: 500}, {ns: 2e9, shots: 20, first: 2000, last: 1000}},
		{{ns: 2e9, shots: 8020, first: 10_000, last: 17_000}},
	}
	crashed := func(e *report.Experiment, arm int) bool {
		return missed(e, shootdownArms[arm].name, map[int]error{0: errors.New("it crashed")}[arm], nil, len(rounds[arm]), len(rounds[arm]))
	}
	e, err := shootdownReport(rounds, crashed)
	if err != nil || len(e.Rows) != 2 || e.Missing["idles"] != "it crashed" {
		t.Fatalf("%v, %v, %v", err, e.Rows, e.Missing)
	}
	for name, want := range map[string]float64{"first_vcpu_exits_per_shootdown": 1, "other_vcpu_exits_per_shootdown": 2, "shootdowns_per_page": 8020. / shootdownPages} {
		if got := e.Rows[1][name]; got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	// None more than in the control have no cost.
	rounds[2] = []shootdownRound{{ns: 2e9, shots: 20, first: 2000, last: 1000}}
	e, err = shootdownReport(rounds, crashed)
	if err != nil || e.Rows[1]["first_vcpu_exits_per_shootdown"] != nil || e.Finding != "no more shootdowns in the same address space than in another" {
		t.Errorf("%v, %v, %q", err, e.Rows, e.Finding)
	}
	if _, err := shootdownReport(make([][]shootdownRound, 3), func(*report.Experiment, int) bool { return true }); err == nil {
		t.Error("a report of nothing")
	}
}
