package measure

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"doorbell/internal/report"
	"doorbell/vmm"
)

// column is one arm's figures, by their names in JSON.
type column struct {
	name    string
	figures map[string]*float64
}

// figure is a row of a table: its name in JSON, and what people read.
type figure struct{ name, title string }

func (c *column) set(name string, v float64) { c.figures[name] = &v }

// columnOf is what the rounds of one arm gave: of each figure the median, and its bounds by the figure's name with _low and _high.
func columnOf(name string, rounds []column) (c column, bounds map[string]any) {
	c, bounds = column{name: name, figures: map[string]*float64{}}, map[string]any{}
	all := map[string]spread{}
	for _, r := range rounds {
		for figure, v := range r.figures {
			if v != nil {
				all[figure] = append(all[figure], *v)
			}
		}
	}
	for figure, s := range all {
		c.set(figure, s.median())
		bounds[figure+"_low"], bounds[figure+"_high"] = s.bounds()
	}
	return c, bounds
}

// row is the column as a row of a report, in which the arm has that key; figures without a value are null.
func (c *column) row(arm string, figures []figure) map[string]any {
	row := map[string]any{arm: c.name}
	for _, f := range figures {
		row[f.name] = nil
	}
	for name, v := range c.figures {
		row[name] = v
	}
	return row
}

// columnsPlot has a bar for each arm that has a figure.
func columnsPlot(title string, columns []column, figure string) *report.Plot {
	p := plot(title)
	for _, c := range columns {
		if v := c.figures[figure]; v != nil {
			p.Bars = append(p.Bars, bar(c.name, *v))
		}
	}
	return p
}

// userspaceExits is how many of a run's exits reached doorbell.
func userspaceExits(r *vmm.Result) (n uint64) {
	for _, c := range r.Account.UserspaceReasons {
		n += c
	}
	return n
}

// sideBySide has a row for each figure and for each exit reason that matters, of those that any column has.
func sideBySide(columns []column, figures []figure) *report.Table {
	t := &report.Table{Columns: []string{""}}
	for _, c := range columns {
		t.Columns = append(t.Columns, c.name)
	}
	line := func(title, name string) {
		cells := []string{title}
		any := false
		for _, c := range columns {
			cell := "-"
			if v := c.figures[name]; v != nil {
				any = true
				cell = fmt.Sprintf("%.0f", *v)
				if strings.HasSuffix(name, "ratio") || strings.Contains(name, "_per_") {
					cell = fmt.Sprintf("%.2f", *v)
				}
			}
			cells = append(cells, cell)
		}
		if any {
			t.Rows = append(t.Rows, cells)
		}
	}
	for _, f := range figures {
		line(f.title, f.name)
	}
	reasons := map[string]float64{}
	for _, c := range columns {
		for name, v := range c.figures {
			if reason, ok := strings.CutPrefix(name, "exits_"); ok && !strings.HasPrefix(reason, "per_") {
				reasons[reason] = max(reasons[reason], *v)
			}
		}
	}
	names := make([]string, 0, len(reasons))
	for r := range reasons {
		names = append(names, r)
	}
	slices.SortFunc(names, func(a, b string) int {
		if reasons[a] != reasons[b] {
			return int(reasons[b] - reasons[a])
		}
		return strings.Compare(a, b)
	})
	for _, r := range names[:min(len(names), maxReasons)] {
		line("exits: "+r, "exits_"+r)
	}
	return t
}

// fixed is a figure with that many digits. What a subtraction leaves of nothing is not shown as -0.
func fixed(v float64, digits int) string {
	s := strconv.FormatFloat(v, 'f', digits, 64)
	if strings.Trim(s, "-0.") == "" {
		s = strings.TrimPrefix(s, "-")
	}
	return s
}

// maxReasons is how many exit reasons a person is shown.
const maxReasons = 8
