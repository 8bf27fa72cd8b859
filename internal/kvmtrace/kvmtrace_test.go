package kvmtrace

import (
	"strings"
	"testing"

	"doorbell/internal/kvm"

	"github.com/google/go-cmp/cmp"
)

// A histogram as Linux 6.1 prints it on an AMD host.
const sample = `# event histogram
#
# trigger info: hist:keys=vcpu_id,exit_reason:vals=hitcount:sort=hitcount:size=4096 if common_pid==83||common_pid==84 [active]
#

{ vcpu_id:          1, exit_reason:        114 } hitcount:         12
{ vcpu_id:          0, exit_reason:       1024 } hitcount:       1432
{ vcpu_id:          0, exit_reason:        123 } hitcount:       6368

Totals:
    Hits: 7812
    Entries: 3
    Dropped: 2
`

func TestParse(t *testing.T) {
	got, lost, err := parse(strings.NewReader(sample), kvm.VendorSVM)
	if err != nil {
		t.Fatal(err)
	}
	want := Exits{0: {"npf": 1432, "io": 6368}, 1: {"cpuid": 12}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if lost != 2 {
		t.Errorf("dropped %d, want 2", lost)
	}
}

func TestTrigger(t *testing.T) {
	const hist = "hist:keys=vcpu_id,exit_reason:size=4096"
	for _, c := range []struct {
		tids []int
		want string
	}{
		{nil, hist},
		{[]int{83, 84}, hist + " if common_pid==83||common_pid==84"},
		{[]int{86, 83, 90, 85, 84}, hist + " if (common_pid>=83&&common_pid<=86)||common_pid==90"},
	} {
		if got := trigger(c.tids); got != c.want {
			t.Errorf("trigger(%v) = %q, want %q", c.tids, got, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(sample)
	f.Fuzz(func(t *testing.T, s string) {
		parse(strings.NewReader(s), kvm.VendorVMX)
	})
}
