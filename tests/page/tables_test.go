package page

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// section is an experiment as a reader of the page sees it.
type section struct {
	Name, Finding string
	Tables        []table
}

type table struct {
	Title   string
	Columns []string
	Rows    [][]string
}

// experiment is the same in the JSON report.
type experiment struct {
	Name    string           `json:"name"`
	Finding string           `json:"finding"`
	Rows    []map[string]any `json:"rows"`
}

// wrong says what of a page's experiment is not in the report, cell by cell; a page that hides a row is wrong, too.
func (e *experiment) wrong(s *section) (all []string) {
	complain := func(format string, args ...any) { all = append(all, e.Name+": "+fmt.Sprintf(format, args...)) }
	if s.Name != e.Name || s.Finding != e.Finding {
		complain("the page has %q: %q, the report %q", s.Name, s.Finding, e.Finding)
	}
	for _, t := range s.Tables {
		for _, r := range t.Rows {
			if len(r) != len(t.Columns) {
				complain("%d cells under %d columns: %q", len(r), len(t.Columns), r)
				return all
			}
		}
	}
	switch {
	case e.Name == "boot":
		all = append(all, e.wrongBoot(s.Tables)...)
	case len(e.Rows) == 0:
		if len(s.Tables) > 0 {
			complain("a table of no row")
		}
	case len(s.Tables) != 1:
		complain("%d tables of %d rows", len(s.Tables), len(e.Rows))
	case s.Tables[0].Columns[0] == "": // an arm in each column
		t := s.Tables[0].transposed()
		for _, c := range matched(&t, e.Rows) {
			complain("%s", c)
		}
	default:
		rows := slices.DeleteFunc(slices.Clone(e.Rows), func(row map[string]any) bool { // which is in the finding and has a plot
			arm, _ := row["arm"].(string)
			return strings.HasPrefix(arm, "crossing, ")
		})
		for _, c := range matched(&s.Tables[0], rows) {
			complain("%s", c)
		}
	}
	return all
}

func (t *table) transposed() table {
	all := append([][]string{t.Columns}, t.Rows...)
	var turned [][]string
	for i := range t.Columns {
		var r []string
		for _, row := range all {
			r = append(r, row[i])
		}
		turned = append(turned, r)
	}
	return table{Columns: turned[0], Rows: turned[1:]}
}

// matched says what is wrong with a table that has a line for each of rows: its first cell names the row, and under one column all lines have one figure of
// their rows, as far as digits are shown: that with the column's name, if there is one, else any. Under "least" and "most" that is the bounds of the column's before.
func matched(t *table, rows []map[string]any) (all []string) {
	if len(t.Rows) != len(rows) || len(rows) == 0 {
		return []string{fmt.Sprintf("%d lines of %d rows", len(t.Rows), len(rows))}
	}
	for i, line := range t.Rows {
		if !names(line[0], rows[i]) {
			all = append(all, fmt.Sprintf("line %d is %q, which is not its row's name: %v", i+1, line[0], rows[i]))
		}
	}
	var before []string // what the column that least and most belong to can be
	for c, column := range t.Columns[1:] {
		cells := make([]string, len(t.Rows))
		for i, line := range t.Rows {
			cells[i] = line[c+1]
		}
		bound := map[string]string{"least": "_low", "most": "_high"}[column]
		var candidates []string
		if bound == "" {
			candidates = slices.DeleteFunc(keys(rows), func(k string) bool { return strings.HasSuffix(k, "_low") || strings.HasSuffix(k, "_high") })
			if k := noWord.ReplaceAllString(column, "_"); slices.Contains(candidates, k) {
				candidates = []string{k} // which has the column's name
			}
		} else {
			for _, k := range before {
				candidates = append(candidates, k+bound)
			}
		}
		var found []string
		best, fewest := "", len(rows)+1
		for _, k := range candidates {
			var differs []string
			for i := range rows {
				if !shows(cells[i], rows[i][k], column) {
					differs = append(differs, fmt.Sprintf("%s: %q, not %v", t.Rows[i][0], cells[i], rows[i][k]))
				}
			}
			if len(differs) == 0 {
				found = append(found, k)
			} else if len(differs) < fewest {
				fewest, best = len(differs), k+" differs at "+strings.Join(differs, "; ")
			}
		}
		if len(found) == 0 {
			all = append(all, fmt.Sprintf("column %q is no figure of the rows; the nearest, %s", column, best))
		}
		if bound == "" {
			before = found
			if len(found) == 0 {
				before = candidates
			}
		}
	}
	return all
}

func keys(rows []map[string]any) []string {
	all := map[string]bool{}
	for _, r := range rows {
		for k := range r {
			all[k] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// names says whether a text, or each of its parts, is one of a row's texts, or what the row says yes or no to.
func names(text string, row map[string]any) bool {
	var words []string
	for _, v := range row {
		switch v := v.(type) {
		case string:
			words = append(append(words, v), strings.Split(v, ", ")...)
		case bool:
			words = append(words, map[bool]string{true: "on", false: "off"}[v])
		}
	}
	return slices.Contains(words, text) || !slices.ContainsFunc(strings.Split(text, ", "), func(part string) bool { return !slices.Contains(words, part) })
}

var noWord = regexp.MustCompile(`[^A-Za-z0-9]+`)

var figurePattern = regexp.MustCompile(`^-?\d+(\.(\d+))?$`)

// shows says whether a cell is that value of the report, for a person.
func shows(cell string, value any, column string) bool {
	switch v := value.(type) {
	case nil:
		return cell == "-"
	case string:
		return cell == v
	case bool:
		return cell == map[bool]string{true: "yes", false: "no"}[v]
	case float64:
		m := figurePattern.FindStringSubmatch(cell)
		if m == nil {
			return false
		}
		if cell == rounded(v, len(m[2])) {
			return true
		}
		// Of times people are shown microseconds; the columns after the first that says so have them, too.
		return len(m[2]) == 2 && (strings.HasPrefix(column, "p") || column == "max" || strings.Contains(column, "p50")) && cell == rounded(v/1000, 2)
	case map[string]any: // how often each of several was: the commonest, and its share
		name, share, several := strings.Cut(strings.TrimSuffix(cell, " %)"), " (")
		n, all := 0.0, 0.0
		for k, x := range v {
			f, _ := x.(float64)
			all += f
			if k == name {
				n = f
			}
		}
		return n > 0 && several == (len(v) > 1) && (!several || share == fmt.Sprintf("%.0f", float64(int(100*n/all))))
	}
	return false
}

func rounded(v float64, digits int) string {
	s := strconv.FormatFloat(v, 'f', digits, 64)
	if strings.Trim(s, "-0.") == "" {
		s = strings.TrimPrefix(s, "-")
	}
	return s
}

// wrongBoot is wrong for a boot's tables, whose rows are of three kinds, and of one more where there were several boots.
func (e *experiment) wrongBoot(tables []table) (all []string) {
	kinds := map[string][]map[string]any{}
	for _, r := range e.Rows {
		kind, _ := r["kind"].(string)
		kinds[kind] = append(kinds[kind], r)
	}
	if several := kinds["exits_of_all_boots"]; several != nil && len(tables) > 0 {
		for _, c := range matched(&tables[0], several) {
			all = append(all, "boot: "+c)
		}
		delete(kinds, "exits_of_all_boots")
		tables = tables[1:]
	}
	if len(tables) != 3 || len(kinds) != 3 {
		return []string{fmt.Sprintf("boot: %d tables of %d kinds of rows", len(tables), len(kinds))}
	}
	devices, phases := tables[1], tables[2]
	for _, c := range append(wrongExits(&tables[0], kinds["exits_by_reason"]), append(matched(&devices, kinds["exits_by_device"]), matched(&phases, kinds["phase"])...)...) {
		all = append(all, "boot: "+c)
	}
	return all
}

// wrongExits holds a table with a line for each reason and a column for each vCPU against rows that have one of each.
func wrongExits(t *table, rows []map[string]any) (all []string) {
	want, vcpus := map[string]map[string]float64{"all": {}}, map[string]bool{}
	for _, r := range rows {
		reason, vcpu, n := fmt.Sprint(r["reason"]), fmt.Sprintf("vCPU%v", r["vcpu"]), r["exits"].(float64)
		if want[reason] == nil {
			want[reason] = map[string]float64{}
		}
		vcpus[vcpu] = true
		for _, line := range []string{reason, "all"} {
			want[line][vcpu] += n
			want[line]["total"] += n
		}
	}
	if columns := len(vcpus) + 3; len(t.Columns) != columns || len(t.Rows) != len(want) {
		return []string{fmt.Sprintf("%d columns and %d lines of exits, want %d and %d", len(t.Columns), len(t.Rows), columns, len(want))}
	}
	seen := map[string]bool{}
	for _, line := range t.Rows {
		if want[line[0]] == nil || seen[line[0]] {
			all = append(all, fmt.Sprintf("the line %q is no reason, or is there twice", line[0]))
			continue
		}
		seen[line[0]] = true
		for i, column := range t.Columns[1 : len(t.Columns)-1] {
			if column != "total" && !vcpus[column] || line[i+1] != rounded(want[line[0]][column], 0) {
				all = append(all, fmt.Sprintf("%s of %s: %q, want %v", column, line[0], line[i+1], want[line[0]][column]))
			}
		}
		source := line[len(line)-1]
		if line[0] != "all" && !slices.ContainsFunc(rows, func(r map[string]any) bool { return r["reason"] == line[0] && r["source"] == source }) {
			all = append(all, fmt.Sprintf("%s has the source %q", line[0], source))
		}
	}
	return all
}

// TestWrong: what the browser test looks for is found. Every cell of every table, when it is changed, two cells that change places, a line that is lost and a
// finding that is another one are wrong, and nothing else is.
func TestWrong(t *testing.T) {
	paths := experiment{"paths", "the cheapest was x", []map[string]any{
		{"path": "MSI", "target": "running", "posted": true, "exits": 1.987, "exits_low": 1.5, "exits_high": 2.0, "other": -0.001, "p50_ns": 12345.0, "sent": 600.0, "ran_in": map[string]any{"softirq": 1.0, "thread": 2.0}},
		{"path": "MSI", "target": "halted", "posted": false, "exits": 3.0, "exits_low": 2.25, "exits_high": 4.0, "other": 0.5, "p50_ns": nil, "sent": 601.0, "ran_in": map[string]any{"softirq": 5.0}},
	}}
	modes := experiment{"modes", "split exits more", []map[string]any{{"irqchip": "kernel", "exits": 16674.0, "ratio": 1.0}, {"irqchip": "split", "exits": 18132.0, "ratio": nil}}}
	boot := experiment{"boot", "a boot cost 36 exits", []map[string]any{
		{"kind": "exits_by_reason", "reason": "io", "vcpu": 0.0, "exits": 20.0, "source": "tracepoint"},
		{"kind": "exits_by_reason", "reason": "io", "vcpu": 1.0, "exits": 4.0, "source": "tracepoint"},
		{"kind": "exits_by_reason", "reason": "hlt", "vcpu": 1.0, "exits": 12.0, "source": "statistics"},
		{"kind": "exits_by_device", "device": "com1", "register": "THR", "direction": "write", "width_bytes": 1.0, "exits": 20.0},
		{"kind": "exits_by_device", "device": "rtc", "register": "data", "direction": "read", "width_bytes": 2.0, "exits": 3.0},
		{"kind": "phase", "phase": "created", "at_s": nil, "exits": nil}, {"kind": "phase", "phase": "guest: userspace", "at_s": 1.2345, "exits": 36.0},
	}}
	bootTables := []table{
		{"exits", []string{"reason", "vCPU0", "vCPU1", "total", "source"}, [][]string{{"io", "20", "4", "24", "tracepoint"}, {"hlt", "0", "12", "12", "statistics"}, {"all", "20", "16", "36", "KVM"}}},
		{"devices", []string{"device", "register", "direction", "bytes", "exits"}, [][]string{{"com1", "THR", "write", "1", "20"}, {"rtc", "data", "read", "2", "3"}}},
		{"phases", []string{"phase", "at, s", "exits"}, [][]string{{"created", "-", "-"}, {"guest: userspace", "1.234", "36"}}},
	}
	for _, c := range []struct {
		experiment
		tables []table
	}{
		{paths, []table{{"", []string{"path, target", "exits", "least", "most", "other", "latency p50, µs", "sent", "ran in", "posted"}, [][]string{
			{"MSI, running", "1.99", "1.50", "2.00", "0.00", "12.35", "600", "thread (66 %)", "yes"}, {"MSI, halted", "3.00", "2.25", "4.00", "0.50", "-", "601", "softirq", "no"},
		}}}},
		{modes, []table{{"", []string{"", "kernel", "split"}, [][]string{{"VM exits", "16674", "18132"}, {"time", "1.00", "-"}}}}},
		{boot, bootTables},
		{experiment{"boot", "two boots", append([]map[string]any{
			{"kind": "exits_of_all_boots", "reason": "io", "exits": 24.0, "exits_low": 22.0, "exits_high": 26.0},
			{"kind": "exits_of_all_boots", "reason": "all", "exits": 36.0, "exits_low": 31.0, "exits_high": 41.0},
		}, boot.Rows...)}, append([]table{{"", []string{"of 2 boots", "exits", "least", "most"}, [][]string{{"io", "24", "22", "26"}, {"all", "36", "31", "41"}}}}, bootTables...)},
		{experiment{Name: "posted", Finding: "not measured", Rows: []map[string]any{}}, nil},
	} {
		s := section{c.Name, c.Finding, c.tables}
		if got := c.wrong(&s); got != nil {
			t.Errorf("%s: %q", c.Name, got)
		}
		other := section{c.Name, c.Finding + "!", c.tables}
		if c.wrong(&other) == nil {
			t.Errorf("%s: another finding is not found", c.Name)
		}
		for n, tab := range c.tables {
			for r, line := range tab.Rows {
				for i, cell := range line {
					if cell == "KVM" || tab.Columns[0] == "" && i == 0 {
						continue // words about the table itself
					}
					for _, to := range []string{"7", "7.00", "-", "", cell + "1", "x"} {
						if line[i] = to; to != cell && c.wrong(&s) == nil {
							t.Errorf("%s, table %d: %q in place of %q is not found", c.Name, n+1, to, cell)
						}
					}
					line[i] = cell
					if j := (i + 1) % len(line); i > 0 && j > 0 && line[i] != line[j] {
						line[i], line[j] = line[j], line[i]
						if c.wrong(&s) == nil {
							t.Errorf("%s, table %d, line %d: the cells %d and %d may change places", c.Name, n+1, r+1, i+1, j+1)
						}
						line[i], line[j] = line[j], line[i]
					}
				}
			}
			whole := tab.Rows
			c.tables[n].Rows = whole[1:]
			if tab.Columns[0] != "" && c.wrong(&s) == nil {
				t.Errorf("%s, table %d: a line less is not found", c.Name, n+1)
			}
			c.tables[n].Rows = whole
		}
		if s.Tables = nil; len(c.tables) > 0 && c.wrong(&s) == nil {
			t.Errorf("%s: no table is not found", c.Name)
		}
	}
}
