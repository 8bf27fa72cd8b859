package guestreport

import (
	"fmt"
	"strings"
)

// Interrupts is /proc/interrupts.
type Interrupts struct {
	// CPUs are the numbers of the CPUs that the columns stand for.
	CPUs []int       `json:"cpus"`
	Rows []Interrupt `json:"rows"`
}

// An Interrupt is one row: a Linux interrupt number, or one of the
// architecture's own vectors.
type Interrupt struct {
	// IRQ is the row's label: a Linux interrupt number, or a name such as LOC.
	IRQ string `json:"irq"`
	// Chip is the irqchip that the line hangs on ("IO-APIC",
	// "PCI-MSIX-0000:00:03.0"); empty for the architecture's vectors.
	Chip string `json:"chip"`
	// HWIRQ is the chip's own number of the line; empty when the kernel
	// prints none.
	HWIRQ string `json:"hwirq,omitempty"`
	// Trigger is the flow that handles it: "edge", "fasteoi", "Level" ...
	Trigger string `json:"trigger,omitempty"`
	// Name lists the actions on the line, or describes the vector.
	Name string `json:"name"`
	// PerCPU has one count for each of Interrupts.CPUs. It is empty for rows
	// that the kernel counts for the whole machine (ERR, MIS).
	PerCPU []uint64 `json:"per_cpu"`
	// Total is the sum of PerCPU, or the machine's count.
	Total uint64 `json:"total"`
}

// ParseInterrupts reads the text of /proc/interrupts.
func ParseInterrupts(text string) (Interrupts, error) {
	header, body, _ := strings.Cut(text, "\n")
	cpus, err := parseCPUHeader(header)
	if err != nil {
		return Interrupts{}, fmt.Errorf("/proc/interrupts: %w", err)
	}
	table := Interrupts{CPUs: cpus}
	for line := range strings.Lines(body) {
		line = strings.TrimRight(line, "\r\n")
		if strings.TrimSpace(line) == "" {
			continue
		}
		row, err := parseInterrupt(line, len(cpus))
		if err != nil {
			return Interrupts{}, fmt.Errorf("/proc/interrupts: %w", err)
		}
		table.Rows = append(table.Rows, row)
	}
	return table, nil
}

func parseInterrupt(line string, cpus int) (Interrupt, error) {
	label, rest, err := cutLabel(line)
	if err != nil {
		return Interrupt{}, err
	}
	row := Interrupt{IRQ: label}
	counts, rest := cutCounts(rest, cpus)
	numbered := isDigits(label)
	switch {
	case len(counts) == 1 && rest == "" && !numbered:
		row.PerCPU, row.Total = []uint64{}, counts[0]
		return row, nil
	case len(counts) < cpus:
		return Interrupt{}, fmt.Errorf("row %.16q has %d counts for %d CPUs", label, len(counts), cpus)
	}
	row.PerCPU, row.Total = counts, sum(counts)
	if !numbered {
		row.Name = rest
		return row, nil
	}
	row.Chip, rest = cutWord(rest)
	row.HWIRQ, row.Trigger, row.Name = parseLine(rest)
	return row, nil
}

// parseLine reads what follows the chip: the hardware number, a dash and the
// flow's name in one word; on architectures with
// CONFIG_GENERIC_IRQ_SHOW_LEVEL also a word Level or Edge; then the actions.
// Each of them may be missing (show_interrupts, kernel/irq/proc.c).
func parseLine(s string) (hwirq, trigger, name string) {
	word, rest := cutWord(s)
	hwirq, trigger, dashed := strings.Cut(word, "-")
	if hwirq != "" && !isDigits(hwirq) || hwirq == "" && !dashed {
		return "", "", s
	}
	if next, after := cutWord(rest); next == "Level" || next == "Edge" {
		return hwirq, next, after
	}
	return hwirq, trigger, rest
}

func cutWord(s string) (word, rest string) {
	end := strings.IndexAny(s, " \t")
	if end < 0 {
		return s, ""
	}
	return s[:end], strings.TrimLeft(s[end:], " \t")
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// Row returns the row labelled irq, or nil.
func (t *Interrupts) Row(irq string) *Interrupt {
	for i := range t.Rows {
		if t.Rows[i].IRQ == irq {
			return &t.Rows[i]
		}
	}
	return nil
}

// Since returns t's rows with only what was counted after before was taken;
// a row that before lacks counts from 0, a row that t lacks is gone.
func (t *Interrupts) Since(before *Interrupts) Interrupts {
	earlier := make(map[string]*Interrupt, len(before.Rows))
	for i := range before.Rows {
		earlier[before.Rows[i].IRQ] = &before.Rows[i]
	}
	delta := Interrupts{CPUs: t.CPUs, Rows: make([]Interrupt, len(t.Rows))}
	for i, row := range t.Rows {
		if old := earlier[row.IRQ]; old != nil && old.Chip == row.Chip {
			row.PerCPU = columnsSince(t.CPUs, row.PerCPU, before.CPUs, old.PerCPU)
			if len(row.PerCPU) > 0 {
				row.Total = sum(row.PerCPU)
			} else {
				row.Total = since(row.Total, old.Total)
			}
		}
		delta.Rows[i] = row
	}
	return delta
}
