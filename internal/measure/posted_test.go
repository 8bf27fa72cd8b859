package measure

import (
	"math"
	"strings"
	"testing"
	"time"
)

// TestPerInterrupt: what the same guest costs without interrupts is subtracted by time, reason by reason.
func TestPerInterrupt(t *testing.T) {
	at := time.Unix(0, 0)
	later := func(ms int) time.Time { return at.Add(time.Duration(ms) * time.Millisecond) }
	posted := func(n uint64) *uint64 { return &n }
	before := &sample{at, map[string]uint64{"external_interrupt": 5}, posted(3), map[string]uint64{"PIN": 1}}
	after := &sample{later(100), map[string]uint64{"external_interrupt": 130, "apic_access": 100}, posted(103), map[string]uint64{"PIN": 8}}
	quiet := [2]*sample{
		{later(200), map[string]uint64{"external_interrupt": 130, "apic_access": 100}, nil, nil},
		{later(400), map[string]uint64{"external_interrupt": 180, "apic_access": 100, "hlt": 2}, nil, nil},
	}
	c := before.perInterrupt(after, quiet, 100)
	for reason, want := range map[string]float64{"external_interrupt": 1, "apic_access": 1, "hlt": -0.01} {
		if got := c.reasons[reason]; math.Abs(got-want) > 1e-9 {
			t.Errorf("%s: %v, want %v", reason, got, want)
		}
	}
	if p := c.parts(); math.Abs(p["kick"]-1) > 1e-9 || math.Abs(p["eoi"]-1) > 1e-9 || p["other"] != 0 {
		t.Errorf("parts %v", p)
	}
	if *c.posted != 100 || c.host["PIN"] != 7 {
		t.Errorf("posted %d, host %v", *c.posted, c.host)
	}
	w := window{moment{at, 10, 0}, moment{later(500), 35, 0}}
	if w.exits() != 25 || w.rate() != 50 {
		t.Errorf("%v exits, %v per second", w.exits(), w.rate())
	}
}

func TestPostedFinding(t *testing.T) {
	row := func(virtualized, halts, shared bool, exits float64, reasons map[string]float64) postedRow {
		return postedRow{interruptedArm{path: bySignalMSI, x2apic: true, halts: halts, paced: true}, virtualized, shared, &interruptedCounts{exits: exits, reasons: reasons}, spread{exits}}
	}
	e := &postedExperiment{rows: []postedRow{
		row(true, false, false, 0.001, map[string]float64{}),
		row(true, false, false, -0.0004, map[string]float64{}),
		row(true, true, false, 1, map[string]float64{"hlt": 1}),
		row(false, false, false, 2, map[string]float64{"external_interrupt": 1, "msr_write": 1}),
	}}
	const want = "with APIC virtualization on an interrupt costs a running vCPU at most 0.001 exits (posted), a halted vCPU at most 1.000 exits (the HLT); " +
		"with APIC virtualization off an interrupt costs a running vCPU at most 2.000 exits (a kick and an EOI)"
	if got := e.finding(); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	for _, c := range []struct {
		row  postedRow
		want string // "" if it is posted
	}{
		{e.rows[0], ""}, {e.rows[2], "the vCPU was halted"}, {e.rows[3], "does not virtualize"},
		{row(false, false, false, -1, nil), "does not virtualize"}, {row(true, false, true, 0, nil), "shares the injector's processor"}, {row(true, false, false, 1, nil), "left the guest"},
	} {
		if got := c.row.whyNot(); !strings.Contains(got, c.want) || (got == "") != (c.want == "") || c.row.posted() != (c.want == "") {
			t.Errorf("%+v: %q, want %q", c.row, got, c.want)
		}
	}
}

// TestPooled: counts are added up, figures per interrupt are medians, and a reason that some rounds never had counts as none in those.
func TestPooled(t *testing.T) {
	posted := func(n uint64) *uint64 { return &n }
	all, exits := pooled([]*interruptedCounts{
		{sent: 10, seen: 10, exits: 2, control: 0.1, reasons: map[string]float64{"hlt": 1, "rare": 0.3}, posted: posted(4), host: map[string]uint64{"PIN": 1}},
		{sent: 10, seen: 10, exits: 4, control: 0.3, reasons: map[string]float64{"hlt": 3}, posted: posted(5), host: map[string]uint64{"PIN": 2}},
		{sent: 10, seen: 10, exits: 3, control: 0.2, reasons: map[string]float64{"hlt": 2}, posted: posted(6), host: map[string]uint64{"PIN": 3}},
	})
	low, high := exits.bounds()
	if all.sent != 30 || all.seen != 30 || all.exits != 3 || low != 2 || high != 4 || all.control != 0.2 || *all.posted != 15 || all.host["PIN"] != 6 || all.reasons["hlt"] != 2 || all.reasons["rare"] != 0 {
		t.Errorf("%+v, %v", all, exits)
	}
	if all, _ = pooled([]*interruptedCounts{{exits: 1, reasons: map[string]float64{}}, {exits: 1}}); all.reasons != nil || all.posted != nil {
		t.Errorf("a round without the tracepoint: %+v", all)
	}
}

func TestFixed(t *testing.T) {
	for _, c := range []struct {
		v      float64
		digits int
		want   string
	}{{-0.0004, 3, "0.000"}, {-0.001, 3, "-0.001"}, {-0.004, 2, "0.00"}, {2.005, 1, "2.0"}, {0, 0, "0"}, {-10, 0, "-10"}} {
		if got := fixed(c.v, c.digits); got != c.want {
			t.Errorf("%v: %s, want %s", c.v, got, c.want)
		}
	}
}

// TestDrowned: on a host that takes a guest out more often than the interrupts do, what is left of the subtraction is no figure.
func TestDrowned(t *testing.T) {
	for exits, want := range map[float64]bool{2: false, 0: false, -0.1: false, -0.3: true, -11.18: true} {
		if err := drowned(exits, 12); (err != nil) != want || err != nil && !strings.Contains(err.Error(), "do not balance") {
			t.Errorf("%v: %v", exits, err)
		}
	}
}
