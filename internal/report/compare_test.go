package report

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"doorbell/internal/probe"

	"github.com/google/go-cmp/cmp"
)

func rounds(median, low, high float64) map[string]any {
	return map[string]any{"path": "irqfd MSI", "target": "running", "apic_virtualization": false, "sent": uint64(600), "why_not_posted": "x", "exits": median, "exits_low": low, "exits_high": high}
}

func comparable(rows ...map[string]any) *Document {
	return &Document{Environment: probe.Environment{Backend: "kvm-amd", CPUs: 2}, Experiments: []Experiment{{Name: "paths", Rows: rows}}}
}

// TestCompare: a figure differs if the rounds of the two reports are further apart than those of one; figures without rounds are not judged, and arms of one report are named.
func TestCompare(t *testing.T) {
	other := rounds(1, 1, 1)
	other["path"] = "SIGNAL_MSI"
	for _, c := range []struct {
		name        string
		after       map[string]any
		significant bool
	}{
		{"higher", rounds(3.5, 3.2, 3.8), true}, {"apart, but less than the rounds are", rounds(2.5, 2.2, 2.8), false}, {"lower", rounds(1, 0.9, 1.1), true}, {"the same", rounds(2, 1.9, 2.1), false}, {"overlapping", rounds(2.2, 2.0, 2.4), false},
	} {
		path := filepath.Join(t.TempDir(), "old.json")
		b, err := comparable(rounds(2, 1.9, 2.1), other).MarshalJSON()
		if err == nil {
			err = os.WriteFile(path, b, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		before, err := ReadDocument(path)
		if err != nil {
			t.Fatal(err)
		}
		now := comparable(c.after)
		now.Environment.CPUs = 4
		if err := now.Compare("old.json", before); err != nil {
			t.Fatal(err)
		}
		want := []Difference{{
			Experiment: "paths", Arm: "irqfd MSI, running", Figure: "exits", Before: 2, BeforeLow: 1.9, BeforeHigh: 2.1,
			After: c.after["exits"].(float64), AfterLow: c.after["exits_low"].(float64), AfterHigh: c.after["exits_high"].(float64), Significant: c.significant,
		}}
		if d := cmp.Diff(want, now.Compared.Differences); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
		var text strings.Builder
		now.Text(&text)
		says := "0 of 1 figures differ"
		if c.significant {
			says = "1 of 1 figures differ"
		}
		for _, want := range []string{"Beside old.json", says, "processors: 2 before, 4 now", "In one only: paths: SIGNAL_MSI, running, before"} {
			if !strings.Contains(text.String(), want) {
				t.Errorf("%s: no %q in\n%s", c.name, want, text.String())
			}
		}
		var page strings.Builder
		if err := now.HTML(&page); err != nil || !strings.Contains(page.String(), `<section id="compared">`) {
			t.Errorf("%s: %v: the page has no comparison", c.name, err)
		}
	}
}

// beside compares a report with an earlier one and gives what its readers see.
func beside(t *testing.T, now, before *Document) (text, page string) {
	t.Helper()
	if err := now.Compare("old.json", before); err != nil {
		t.Fatal(err)
	}
	var words, html strings.Builder
	now.Text(&words)
	if err := now.HTML(&html); err != nil {
		t.Fatal(err)
	}
	return words.String(), html.String()
}

// TestCompareOthers: what was run with something else is said, and what one report only has; figures without rounds are not compared.
func TestCompareOthers(t *testing.T) {
	before, now := comparable(rounds(2, 1.9, 2.1)), comparable(rounds(2, 1.9, 2.1))
	before.Experiments[0].Parameters = map[string]any{"rounds": 3.0, "seed": 1.0, "irqchip": "kernel"}
	now.Experiments[0].Parameters = map[string]any{"rounds": 3, "seed": 2, "irqchip": "user", "memory": "1 GiB"}
	boot := Experiment{Name: "boot", Rows: []map[string]any{{"kind": "phase", "exits": 1.0}}}
	before.Experiments = append(before.Experiments, boot, Experiment{Name: "storm"})
	now.Experiments = append(now.Experiments, boot, Experiment{Name: "ipi", Rows: []map[string]any{{"arm": "self"}}})
	text, page := beside(t, now, before)
	for _, want := range []string{"Run with something else: paths: irqchip: kernel before, user now", "Not compared: boot: one", "In one only: ipi, now", "In one only: storm, before"} {
		if !strings.Contains(text, want) || !strings.Contains(page, want) {
			t.Errorf("%q is not said:\n%s", want, text)
		}
	}
	if c := now.Compared; len(c.Parameters) != 1 || len(c.Only) != 2 || len(c.OneRound) != 1 || len(c.Differences) != 1 {
		t.Errorf("%+v", c)
	}
}

// TestCompareInterrupted: where a signal has left an arm one of three rounds nobody knows what chance would do. The path that hardware takes has its name without it.
func TestCompareInterrupted(t *testing.T) {
	before, now := comparable(rounds(2, 2, 2)), comparable(rounds(3, 3, 3))
	for _, d := range []*Document{before, now} {
		d.Experiments[0].Parameters = map[string]any{"rounds": 3.0}
		d.Experiments[0].Rows[0]["apic_virtualization"] = d == now
	}
	if err := now.Compare("old.json", before); err != nil || len(now.Compared.Differences) != 1 || len(now.Compared.Only) != 0 {
		t.Errorf("%v, %+v", err, now.Compared)
	}
	now.Experiments[0].Missing = map[string]string{"x (1 of 3 rounds)": "lost", "y (2 of 3 rounds)": "interrupted", "z (3 of 3 rounds)": "none"}
	if n := now.Experiments[0].FewestRounds(); n != 1 {
		t.Errorf("%d rounds", n)
	}
	if err := now.Compare("old.json", before); err != nil || len(now.Compared.Differences) != 0 || len(now.Compared.OneRound) != 1 {
		t.Errorf("%v, %+v", err, now.Compared)
	}
}

// TestCompareBoots: of boots only what all had is compared, not what only the last one did.
func TestCompareBoots(t *testing.T) {
	boots := func(device string, exits float64) *Document {
		return &Document{Experiments: []Experiment{{Name: "boot", Parameters: map[string]any{"rounds": 3.0}, Rows: []map[string]any{
			{"kind": "exits_by_device", "device": device, "exits": 3.0}, {"kind": "exits_of_all_boots", "reason": "all", "exits": exits, "exits_low": exits - 1, "exits_high": exits + 1},
		}}}}
	}
	now := boots("rtc", 20)
	if err := now.Compare("old.json", boots("pci", 10)); err != nil {
		t.Fatal(err)
	}
	if c := now.Compared; len(c.Only) != 0 || len(c.OneRound) != 0 || len(c.Differences) != 1 || !c.Differences[0].Significant {
		t.Errorf("%+v", c)
	}
}

// TestCompareOneRound: of one number nobody knows what chance would do, whichever of the reports has it.
func TestCompareOneRound(t *testing.T) {
	const note = "Not compared: paths: one of the reports has a single round"
	for _, c := range []struct {
		before, after float64
		compared      int
	}{{1, 3, 0}, {3, 1, 0}, {1, 1, 0}, {2, 3, 1}} {
		before, now := comparable(rounds(2, 2, 2)), comparable(rounds(3, 3, 3))
		before.Experiments[0].Parameters, now.Experiments[0].Parameters = map[string]any{"rounds": c.before}, map[string]any{"rounds": int(c.after)}
		text, page := beside(t, now, before)
		says := c.compared == 0
		if got := len(now.Compared.Differences); got != c.compared || strings.Contains(text, note) != says || strings.Contains(page, note) != says {
			t.Errorf("%v rounds, then %v: %d figures compared:\n%s", c.before, c.after, got, text)
		}
	}
}

func TestReadDocument(t *testing.T) {
	dir := t.TempDir()
	for text, want := range map[string]string{"{": "is no report as JSON", "{}": "has no experiment in it", "[1]": "is no report as JSON"} {
		path := filepath.Join(dir, "r.json")
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadDocument(path); err == nil || !strings.Contains(err.Error(), "r.json "+want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := ReadDocument(filepath.Join(dir, "absent")); err == nil {
		t.Error("a file that is not there was read")
	}
}
