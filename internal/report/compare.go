package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"doorbell/internal/probe"
)

// Difference is one figure of one arm in two reports.
type Difference struct {
	Experiment string  `json:"experiment"`
	Arm        string  `json:"arm"`
	Figure     string  `json:"figure"`
	Before     float64 `json:"before"`
	After      float64 `json:"after"`
	// The least and the most of each report's rounds.
	BeforeLow  float64 `json:"before_low"`
	BeforeHigh float64 `json:"before_high"`
	AfterLow   float64 `json:"after_low"`
	AfterHigh  float64 `json:"after_high"`
	// Significant: see significant.
	Significant bool `json:"significant"`
}

// Comparison is a report beside an earlier one.
type Comparison struct {
	With        string       `json:"with"` // the earlier report's file
	Differences []Difference `json:"differences"`
	// Only are arms that one of the reports has and the other has not.
	Only []string `json:"only_in_one,omitempty"`
	// OneRound are experiments of which a report has a single round, or none: their figures are not compared.
	OneRound []string `json:"one_round,omitempty"`
	// Parameters says what of an experiment both reports have run otherwise: then the figures may differ for that.
	Parameters []string `json:"parameters_differ,omitempty"`
	// Environment says what of the hosts differs: then the figures may differ for that.
	Environment []string `json:"environment_differs,omitempty"`
}

// ReadDocument reads a report as JSON. The error names the file.
func ReadDocument(path string) (*Document, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	d := &Document{}
	if err := json.Unmarshal(b, d); err != nil {
		return nil, fmt.Errorf("%s is no report as JSON: %w", path, err)
	}
	if len(d.Experiments) == 0 {
		return nil, fmt.Errorf("%s has no experiment in it", path)
	}
	return d, nil
}

// Compare puts the report beside an earlier one, which was read from the file with that name. Figures that have no rounds are not compared: of one number
// each nobody knows what chance would do.
func (d *Document) Compare(name string, before *Document) error {
	// As JSON and back, so that both have the same types.
	b, err := json.Marshal(d)
	if err != nil {
		return err
	}
	var now Document
	if err := json.Unmarshal(b, &now); err != nil {
		return err
	}
	c := &Comparison{With: name, Differences: []Difference{}}
	c.environment(before, &now)
	old, fresh := arms(before), arms(&now)
	for _, e := range now.Experiments {
		was := experiment(before, e.Name)
		if was == nil {
			c.Only = append(c.Only, e.Name+", now")
			continue
		}
		if oneRound(was) || oneRound(&e) {
			c.OneRound = append(c.OneRound, e.Name)
		}
		c.parameters(was, &e)
	}
	for _, e := range before.Experiments {
		if experiment(&now, e.Name) == nil {
			c.Only = append(c.Only, e.Name+", before")
		}
	}
	compared := func(name string) bool {
		return experiment(before, name) != nil && experiment(&now, name) != nil && !slices.Contains(c.OneRound, name)
	}
	for _, key := range sortedKeys(fresh) {
		if !compared(key.experiment) {
			continue
		}
		was, ok := old[key]
		if !ok {
			c.Only = append(c.Only, key.experiment+": "+key.arm+", now")
			continue
		}
		c.figures(key, was, fresh[key])
	}
	for _, key := range sortedKeys(old) {
		if _, ok := fresh[key]; !ok && compared(key.experiment) {
			c.Only = append(c.Only, key.experiment+": "+key.arm+", before")
		}
	}
	d.Compared = c
	return nil
}

// armKey names a row.
type armKey struct{ experiment, arm string }

func sortedKeys(m map[armKey]map[string]any) []armKey {
	return slices.SortedFunc(maps.Keys(m), func(a, b armKey) int {
		return cmp.Or(cmp.Compare(a.experiment, b.experiment), cmp.Compare(a.arm, b.arm))
	})
}

// experiment is a report's of that name, nil if it has none.
func experiment(d *Document, name string) *Experiment {
	if i := slices.IndexFunc(d.Experiments, func(e Experiment) bool { return e.Name == name }); i >= 0 {
		return &d.Experiments[i]
	}
	return nil
}

// oneRound says whether an experiment, as read from JSON, has one round, whose least and most are one number, or figures that have no rounds.
func oneRound(e *Experiment) bool {
	return e.Parameters["rounds"] == 1.0 || e.FewestRounds() == 1 || !slices.ContainsFunc(e.Rows, hasBounds)
}

// someRounds ends the name of an arm of which some rounds are missing.
var someRounds = regexp.MustCompile(`\((\d+) of (\d+) rounds\)$`)

// FewestRounds is how many rounds the arm has of which the most are missing, among those that have a row; 0 where none of any is missing.
func (e *Experiment) FewestRounds() (fewest int) {
	for name := range e.Missing {
		if m := someRounds.FindStringSubmatch(name); m != nil {
			lacks, _ := strconv.Atoi(m[1])
			of, _ := strconv.Atoi(m[2])
			if n := of - lacks; n > 0 && (fewest == 0 || n < fewest) {
				fewest = n
			}
		}
	}
	return fewest
}

// hasBounds says whether a figure of a row has rounds.
func hasBounds(row map[string]any) bool {
	return slices.ContainsFunc(slices.Collect(maps.Keys(row)), func(k string) bool { return strings.HasSuffix(k, "_low") })
}

// parameters notes with what else than other orders of its arms an experiment was run. An older report may not say all of it.
func (c *Comparison) parameters(before, now *Experiment) {
	for _, name := range slices.Sorted(maps.Keys(now.Parameters)) {
		was, ok := before.Parameters[name]
		if a, b := fmt.Sprint(was), fmt.Sprint(now.Parameters[name]); ok && a != b && name != "seed" && name != "confidence_of_least_to_most" {
			c.Parameters = append(c.Parameters, fmt.Sprintf("%s: %s: %s before, %s now", now.Name, strings.ReplaceAll(name, "_", " "), a, b))
		}
	}
}

// arms are a report's rows by what names them: their texts and what they say yes or no to, but for the words about a result.
func arms(d *Document) map[armKey]map[string]any {
	about := []string{"why_not_posted", "cmdline", "source", "kernel"}
	all := map[armKey]map[string]any{}
	for _, e := range d.Experiments {
		bounded := slices.ContainsFunc(e.Rows, hasBounds)
		for _, row := range e.Rows {
			if bounded && !hasBounds(row) { // what is of one round only is not compared
				continue
			}
			var names []string
			for _, k := range slices.Sorted(maps.Keys(row)) {
				switch v := row[k].(type) {
				case string:
					if !slices.Contains(about, k) {
						names = append(names, v)
					}
				case bool:
					// Whether the hardware has a part in it is what a comparison of two hosts is about; posted has arms with and without.
					if k != "posted" && (k != "apic_virtualization" || e.Name == "posted") {
						names = append(names, fmt.Sprintf("%s %v", strings.ReplaceAll(k, "_", " "), v))
					}
				}
			}
			all[armKey{e.Name, strings.Join(names, ", ")}] = row
		}
	}
	return all
}

// figures compares those figures of a row that both reports have rounds of.
func (c *Comparison) figures(key armKey, before, after map[string]any) {
	get := func(row map[string]any, name string) (v float64, ok bool) {
		v, ok = row[name].(float64)
		return v, ok
	}
	for _, name := range slices.Sorted(maps.Keys(after)) {
		x := Difference{Experiment: key.experiment, Arm: key.arm, Figure: name}
		all := true
		for _, f := range []struct {
			row map[string]any
			end string
			to  *float64
		}{
			{before, "", &x.Before}, {before, "_low", &x.BeforeLow}, {before, "_high", &x.BeforeHigh},
			{after, "", &x.After}, {after, "_low", &x.AfterLow}, {after, "_high", &x.AfterHigh},
		} {
			v, ok := get(f.row, name+f.end)
			*f.to, all = v, all && ok
		}
		if !all {
			continue
		}
		x.Significant = x.significant()
		c.Differences = append(c.Differences, x)
	}
}

// significant says whether two figures differ by more than their rounds do by themselves. That their bounds do not meet is not enough, which happens by
// chance once in three times with two rounds and once in ten with three: the gap between them is also wider than each of them, and a hundredth of the figure.
func (x *Difference) significant() bool {
	gap := max(x.AfterLow-x.BeforeHigh, x.BeforeLow-x.AfterHigh)
	return gap > 0 && gap >= max(x.BeforeHigh-x.BeforeLow, x.AfterHigh-x.AfterLow) && gap >= math.Abs(x.Before)/100
}

// environment notes what of the hosts differs that figures depend on.
func (c *Comparison) environment(before, now *Document) {
	a, b := before.Environment, now.Environment
	for _, f := range []struct{ what, before, now string }{
		{"KVM", a.Backend, b.Backend}, {"kernel", a.Kernel, b.Kernel}, {"processor", a.CPU, b.CPU}, {"processors", fmt.Sprint(a.CPUs), fmt.Sprint(b.CPUs)},
		{"mitigations", a.Mitigations, b.Mitigations}, {"local APICs", localAPICs(a), localAPICs(b)},
		{"halt polling", haltPolling(a), haltPolling(b)}, {"emulated", fmt.Sprint(a.Emulated), fmt.Sprint(b.Emulated)},
	} {
		if f.before != f.now && f.before != "" {
			c.Environment = append(c.Environment, fmt.Sprintf("%s: %s before, %s now", f.what, f.before, f.now))
		}
	}
}

func haltPolling(e probe.Environment) string {
	if e.HaltPollNs == nil {
		return ""
	}
	return fmt.Sprintf("%d ns", *e.HaltPollNs)
}

// localAPICs says who has them; "" for a report that does not say.
func localAPICs(e probe.Environment) string {
	switch {
	case e.APICVirtualized:
		return "by hardware"
	case e.APICEvidence != "":
		return "in software"
	}
	return ""
}

// text prints what has changed, and how much has not.
func (c *Comparison) text(w io.Writer) {
	if c == nil {
		return
	}
	heading(w, "Beside %s", c.With)
	for _, e := range c.Environment {
		fmt.Fprintf(w, "The hosts differ: %s\n", e)
	}
	for _, p := range c.Parameters {
		fmt.Fprintf(w, "Run with something else: %s\n", p)
	}
	t := columns(w)
	changed := 0
	for _, x := range c.Differences {
		if !x.Significant {
			continue
		}
		if changed++; changed == 1 {
			fmt.Fprintln(t, "experiment\tarm\tfigure\tbefore\tits rounds\tnow\tits rounds\t")
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s to %s\t%s\t%s to %s\t\n", x.Experiment, x.Arm, strings.ReplaceAll(x.Figure, "_", " "), number(x.Before), number(x.BeforeLow), number(x.BeforeHigh),
			number(x.After), number(x.AfterLow), number(x.AfterHigh))
	}
	t.Flush()
	if len(c.Differences) == 0 {
		fmt.Fprintln(w, "No figure to compare.")
	} else {
		fmt.Fprintf(w, "%d of %d figures differ: the rounds of the two reports are further apart than those of one are from each other.\n", changed, len(c.Differences))
	}
	if len(c.OneRound) > 0 {
		fmt.Fprintf(w, "Not compared: %s: one of the reports has a single round (see --rounds), or none.\n", strings.Join(c.OneRound, ", "))
	}
	for _, o := range c.Only {
		fmt.Fprintf(w, "In one only: %s\n", o)
	}
}
