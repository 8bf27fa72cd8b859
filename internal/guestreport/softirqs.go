package guestreport

import (
	"fmt"
	"strings"
)

// Softirqs is /proc/softirqs. Its columns are the CPUs that may ever exist, so
// there may be more of them than are online.
type Softirqs struct {
	CPUs []int     `json:"cpus"`
	Rows []Softirq `json:"rows"`
}

// A Softirq is one kind of deferred work and how often it ran.
type Softirq struct {
	Name   string   `json:"name"`
	PerCPU []uint64 `json:"per_cpu"`
	Total  uint64   `json:"total"`
}

// ParseSoftirqs reads the text of /proc/softirqs.
func ParseSoftirqs(text string) (Softirqs, error) {
	header, body, _ := strings.Cut(text, "\n")
	cpus, err := parseCPUHeader(header)
	if err != nil {
		return Softirqs{}, fmt.Errorf("/proc/softirqs: %w", err)
	}
	table := Softirqs{CPUs: cpus}
	for line := range strings.Lines(body) {
		if strings.TrimSpace(line) == "" {
			continue
		}
		name, rest, err := cutLabel(strings.TrimRight(line, "\r\n"))
		if err != nil {
			return Softirqs{}, fmt.Errorf("/proc/softirqs: %w", err)
		}
		counts, _ := cutCounts(rest, len(cpus))
		if len(counts) < len(cpus) {
			return Softirqs{}, fmt.Errorf("/proc/softirqs: row %.16q has %d counts for %d CPUs", name, len(counts), len(cpus))
		}
		table.Rows = append(table.Rows, Softirq{Name: name, PerCPU: counts, Total: sum(counts)})
	}
	return table, nil
}

// Row returns the row called name, or nil.
func (t *Softirqs) Row(name string) *Softirq {
	for i := range t.Rows {
		if t.Rows[i].Name == name {
			return &t.Rows[i]
		}
	}
	return nil
}

// Since returns what t counted after before was taken.
func (t *Softirqs) Since(before *Softirqs) Softirqs {
	earlier := make(map[string]*Softirq, len(before.Rows))
	for i := range before.Rows {
		earlier[before.Rows[i].Name] = &before.Rows[i]
	}
	delta := Softirqs{CPUs: t.CPUs, Rows: make([]Softirq, len(t.Rows))}
	for i, row := range t.Rows {
		if old := earlier[row.Name]; old != nil {
			row.PerCPU = columnsSince(t.CPUs, row.PerCPU, before.CPUs, old.PerCPU)
			row.Total = sum(row.PerCPU)
		}
		delta.Rows[i] = row
	}
	return delta
}
