package measure

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"doorbell/internal/report"
)

const literatureZeroCopy = "Linux's documentation of MSG_ZEROCOPY: pages that are pinned and not copied are generally only effective at writes over around 10 KB. " +
	"Mapping received TCP data in place of copying it was published with 45 µs of processor time per MB against 116 (Linux commit 93ab6cc69162)."

// sizeName is a size for people.
func sizeName(bytes float64) string {
	unit := 0
	for ; bytes >= 1024 && unit < 2; unit++ {
		bytes /= 1024
	}
	digits := 0
	if bytes < 10 && bytes != math.Trunc(bytes) {
		digits = 1
	}
	return fixed(bytes, digits) + " " + []string{"B", "KiB", "MiB"}[unit]
}

// crossing is the size from which on a ratio stays below 1. Between two sizes it is where the line from one to the other, both as logarithms, passes 1.
// It is nil where the largest size's is not below 1.
func crossing(sizes []int, ratios []float64) *float64 {
	last := len(ratios) - 1
	for last >= 0 && ratios[last] < 1 {
		last--
	}
	var at float64
	switch {
	case last == len(ratios)-1:
		return nil
	case last < 0:
		at = float64(sizes[0])
	default:
		a, b := float64(sizes[last]), float64(sizes[last+1])
		part := math.Log(ratios[last]) / (math.Log(ratios[last]) - math.Log(ratios[last+1]))
		at = math.Exp(math.Log(a) + part*(math.Log(b)-math.Log(a)))
	}
	return &at
}

// crossingRow is where a way that moves pages beats copying with that many threads: from the medians, and from the least and the most of each size. rows are
// those of these threads. The error is for sizes that have no row.
func crossingRow(w way, rows []*zeroCopyRow) (row map[string]any, from string, err error) {
	if len(rows) < len(zeroCopySizes) {
		return nil, "", errors.New("not all sizes were measured")
	}
	row = map[string]any{"arm": fmt.Sprintf("crossing, %s, %s", w.name, threadsName(rows[0].threads)), "threads": rows[0].threads}
	from = "none up to " + sizeName(float64(slices.Max(zeroCopySizes)))
	for name, figure := range map[string]func(spread) float64{
		"crossing_bytes":      spread.median,
		"crossing_bytes_low":  func(s spread) float64 { return slices.Min(s) },
		"crossing_bytes_high": func(s spread) float64 { return slices.Max(s) },
	} {
		ratios := make([]float64, len(rows))
		for i, r := range rows {
			ratios[i] = figure(r.figures[w.key+"_time_ratio"])
		}
		row[name] = nil
		if at := crossing(zeroCopySizes, ratios); at != nil {
			row[name] = *at
			if name == "crossing_bytes" {
				from = sizeName(*at)
			}
		}
	}
	if row["crossing_bytes"] == nil {
		row["not_measured"] = map[string]string{"crossing_bytes": from}
	}
	return row, from, nil
}

// crossingPlot is a way's speed against the size, so that the crossing is where the curve passes 1: at the smallest sizes the ratio of the times itself is
// in the hundreds.
func crossingPlot(w way, rows []*zeroCopyRow, from string) *report.Plot {
	var points []report.Bar
	for _, r := range rows {
		p := bar(sizeName(float64(r.size)), r.speed(w))
		p.X = math.Log2(float64(r.size))
		points = append(points, p)
	}
	return curve(fmt.Sprintf("time of copying ÷ time of %s, %s; above 1 from: %s", w.name, threadsName(rows[0].threads), from), "binary logarithm of the size in bytes", points...)
}

// speed is a way's against copying.
func (r *zeroCopyRow) speed(w way) float64 { return 1 / r.figures[w.key+"_time_ratio"].median() }

// row is for machines. On an emulated host no time stands alone.
func (r *zeroCopyRow) row(ways []way, emulated bool) map[string]any {
	row := map[string]any{"arm": r.name(), "size_bytes": r.size, "threads": r.threads, "messages": r.messages}
	busy := r.busy
	if r.threads == 1 {
		busy = nil // there are no others
	}
	busy.into(row, "others_ran_share")
	none := map[string]string{}
	for i, w := range ways {
		for _, name := range []string{"_faults_per_message", "_shootdowns_per_message"} {
			r.figures[w.key+name].into(row, w.key+name)
		}
		if i > 0 {
			r.figures[w.key+"_time_ratio"].into(row, w.key+"_time_ratio")
			row[w.key+"_speed_ratio"] = r.speed(w)
		}
		if emulated {
			row[w.key+"_ns"], none[w.key+"_ns"] = nil, emulatedClock
			continue
		}
		r.figures[w.key+"_ns"].into(row, w.key+"_ns")
	}
	if len(none) > 0 {
		row["not_measured"] = none
	}
	return row
}

// cells are for people.
func (r *zeroCopyRow) cells(ways []way) []string {
	cells := []string{r.name()}
	for _, w := range ways[1:] {
		s := r.figures[w.key+"_time_ratio"]
		low, high := s.bounds()
		cells = append(cells, fixed(s.median(), 2), fixed(low, 2), fixed(high, 2))
	}
	for _, figure := range []string{"_faults_per_message", "_shootdowns_per_message"} {
		for _, w := range ways {
			cell := "-"
			if s := r.figures[w.key+figure]; len(s) > 0 {
				cell = fixed(s.median(), 2)
			}
			cells = append(cells, cell)
		}
	}
	share := "-"
	if r.threads > 1 {
		share = fixed(r.busy.median(), 2)
	}
	return append(cells, share)
}

// zeroCopyExperiment puts the rows together; absent says whether an arm has none, and the experiment why.
func zeroCopyExperiment(rows []zeroCopyRow, ways []way, emulated bool, absent func(e *report.Experiment, arm int) bool) (*report.Experiment, error) {
	e := &report.Experiment{Name: "zerocopy", Missing: map[string]string{}, Literature: literatureZeroCopy, Table: &report.Table{Columns: []string{"size, threads"}}}
	for _, w := range ways[1:] {
		e.Table.Columns = append(e.Table.Columns, w.name+", time ÷ copying", "least", "most")
	}
	for _, figure := range []string{"faults", "TLB shootdowns"} {
		e.Table.Columns = append(e.Table.Columns, figure+" per message: "+ways[0].name)
		for _, w := range ways[1:] {
			e.Table.Columns = append(e.Table.Columns, w.name)
		}
	}
	e.Table.Columns = append(e.Table.Columns, "other threads ran, part of the time")
	byThreads := map[int][]*zeroCopyRow{}
	var counts []int
	for i := range rows {
		r := &rows[i]
		if !slices.Contains(counts, r.threads) {
			counts = append(counts, r.threads)
		}
		if absent(e, i) {
			continue
		}
		byThreads[r.threads] = append(byThreads[r.threads], r)
		e.Rows, e.Table.Rows = append(e.Rows, r.row(ways, emulated)), append(e.Table.Rows, r.cells(ways))
	}
	if len(e.Rows) == 0 {
		return nil, fmt.Errorf("nothing was measured: %s", reasons(e.Missing))
	}
	var parts []string
	for _, w := range ways[1:] {
		var from []string
		for _, n := range counts {
			row, at, err := crossingRow(w, byThreads[n])
			if err != nil {
				e.Missing[fmt.Sprintf("crossing, %s, %s", w.name, threadsName(n))] = err.Error()
				continue
			}
			e.Rows, e.Plots = append(e.Rows, row), append(e.Plots, crossingPlot(w, byThreads[n], at))
			from = append(from, fmt.Sprintf("%s with %s", at, threadsName(n)))
		}
		if len(from) > 0 {
			parts = append(parts, w.name+" "+strings.Join(from, ", "))
		}
	}
	e.Finding = "the size from which moving pages beats copying: " + strings.Join(parts, "; ")
	if len(parts) == 0 {
		e.Finding = "not all sizes were measured: no size is known from which moving pages beats copying"
	}
	return e, nil
}
