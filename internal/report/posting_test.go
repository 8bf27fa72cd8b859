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

func TestPostingLine(t *testing.T) {
	off, n := "avic=N: off", uint64(1000)
	for want, p := range map[string]*vmm.PostingAccount{
		"":                                      nil,
		"Posted interrupts: none. avic=N: off.": {WhyNot: &off, Posted: &n},
		"Posted interrupts: the processor virtualizes local APICs; KVM gave 1000 to the hardware to deliver (kvm_apicv_accept_irq), PIN rose by 3 on the host; " +
			"KVM stopped it for: blockirq. `doorbell measure posted` is the proof by behaviour.": {Posted: &n, Notifications: map[string]uint64{"PIN": 3}, Inhibits: []string{"blockirq"}},
	} {
		if got := postingLine(p); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
