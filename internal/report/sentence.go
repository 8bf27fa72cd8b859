package report

import (
	"fmt"
	"strings"
)

// Clause is what one figure of one row says of an experiment.
type Clause struct {
	Row    string // the row's name
	Figure string
	Words  string // with a verb for the figure
}

// Sentence is a finding: the clauses whose figures were measured, of rows that are named by key.
func (e *Experiment) Sentence(key string, clauses ...Clause) string {
	var parts []string
	for _, c := range clauses {
		for _, row := range e.Rows {
			if v, ok := row[c.Figure].(float64); ok && row[key] == c.Row {
				parts = append(parts, fmt.Sprintf(c.Words, v))
			}
		}
	}
	if len(parts) == 0 {
		return "what there is to compare was not measured"
	}
	return strings.Join(parts, ", ")
}
