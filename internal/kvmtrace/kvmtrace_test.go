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
	rows, lost, err := parseRows(strings.NewReader(sample))
	if err != nil {
		t.Fatal(err)
	}
	got := byReason(rows, kvm.VendorSVM)
	want := Exits{0: {"npf": 1432, "io": 6368}, 1: {"cpuid": 12}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if lost != 2 {
		t.Errorf("dropped %d, want 2", lost)
	}
}

func TestThreads(t *testing.T) {
	for _, c := range []struct {
		tids []int
		want string
	}{
		{nil, ""},
		{[]int{83, 84}, " if common_pid==83||common_pid==84"},
		{[]int{86, 83, 90, 85, 84}, " if (common_pid>=83&&common_pid<=86)||common_pid==90"},
	} {
		if got, err := threads(c.tids); got != c.want || err != nil {
			t.Errorf("threads(%v) = %q, %v, want %q", c.tids, got, err, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(sample)
	f.Fuzz(func(t *testing.T, s string) {
		rows, _, err := parseRows(strings.NewReader(s))
		if err == nil {
			byReason(rows, kvm.VendorVMX)
		}
	})
}

// Histograms of the interrupts' events as Linux 6.1 prints them.
const interruptSample = `# event histogram
#
# trigger info: hist:keys=pin,coalesced,e:vals=hitcount:sort=hitcount:size=4096 [active]
#

{ pin:         20, coalesced:          0, e:      32848 } hitcount:      15000
{ pin:         20, coalesced:          1, e:      32848 } hitcount:          3
{ pin:          4, coalesced:          0, e:         36 } hitcount:         12

Totals:
    Hits: 15015
    Entries: 3
    Dropped: 0
`

func TestPins(t *testing.T) {
	rows, lost, err := parseRows(strings.NewReader(interruptSample))
	if err != nil || lost != 0 {
		t.Fatal(err, lost)
	}
	var c InterruptCounts
	c.pins(rows, []row{{keys: map[string]uint64{"e": 32848 | 1<<14}, n: 2}})
	want := map[int]Pin{20: {Raised: 15003, Coalesced: 3, Throttled: 2, Vector: 0x50, Level: true}, 4: {Raised: 12, Vector: 0x24}}
	if d := cmp.Diff(want, c.Pins); d != "" {
		t.Error(d)
	}
}
