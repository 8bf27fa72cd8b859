package report

import "testing"

// A finding says what was measured, and nothing of what was not.
func TestSentence(t *testing.T) {
	e := Experiment{Rows: []map[string]any{{"arm": "a", "exits": 1.5}, {"arm": "b", "exits": nil}}}
	a, b := Clause{"a", "exits", "a took %.1f exits"}, Clause{"b", "exits", "b %.1f"}
	for _, c := range []struct {
		clauses []Clause
		want    string
	}{
		{[]Clause{a, b}, "a took 1.5 exits"}, {[]Clause{a, a}, "a took 1.5 exits, a took 1.5 exits"}, {[]Clause{b, {"c", "exits", "%v"}}, "what there is to compare was not measured"},
	} {
		if got := e.Sentence("arm", c.clauses...); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
