package report

import (
	"testing"

	"doorbell/vmm"
)

func TestPosting(t *testing.T) {
	off, many := "avic=N: off", "it has several destinations"
	row := func(why *string) vmm.VectorRow { return vmm.VectorRow{Routings: 1, WhyNotPosted: why} }
	for _, c := range []struct {
		rows []vmm.VectorRow
		want string
	}{
		{nil, "No vector was used."},
		{[]vmm.VectorRow{{}}, "No vector was used."},
		{[]vmm.VectorRow{row(nil), row(nil), {}}, "All of them can be posted to a running vCPU, without an exit."},
		{[]vmm.VectorRow{row(&off), row(&off)}, "None of them is posted to a running vCPU, each costs exits: avic=N: off."},
		{[]vmm.VectorRow{row(&many), row(nil), row(&off), row(&many)}, "3 of the 4 that were used are not posted to a running vCPU, each costs exits: it has several destinations (2); avic=N: off (1)."},
	} {
		if got := posting(c.rows); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
