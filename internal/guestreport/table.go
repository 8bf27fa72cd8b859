package guestreport

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// parseCPUHeader reads the first line of /proc/interrupts and /proc/softirqs:
// "CPU0 CPU1 CPU3". An offline CPU has no column in the first, so the numbers
// may have holes.
func parseCPUHeader(line string) ([]int, error) {
	fields := strings.Fields(line)
	if len(fields) == 0 {
		return nil, errors.New("header names no CPU")
	}
	cpus := make([]int, 0, len(fields))
	for _, f := range fields {
		digits, ok := strings.CutPrefix(f, "CPU")
		n, err := strconv.ParseUint(digits, 10, 31)
		if !ok || err != nil {
			return nil, fmt.Errorf("header has %.32q where CPU and a number belong", f)
		}
		if len(cpus) > 0 && int(n) <= cpus[len(cpus)-1] {
			return nil, fmt.Errorf("header has CPU%d out of order", n)
		}
		cpus = append(cpus, int(n))
	}
	return cpus, nil
}

// cutCounts takes at most limit counts from the start of s and returns what
// follows them. A word that is no number ends the counts.
func cutCounts(s string, limit int) (counts []uint64, rest string) {
	for len(counts) < limit {
		s = strings.TrimLeft(s, " \t")
		end := strings.IndexAny(s, " \t")
		if end < 0 {
			end = len(s)
		}
		n, err := strconv.ParseUint(s[:end], 10, 64)
		if err != nil {
			break
		}
		if counts == nil {
			counts = make([]uint64, 0, limit)
		}
		counts = append(counts, n)
		s = s[end:]
	}
	return counts, strings.TrimSpace(s)
}

// cutLabel splits "LABEL: rest"; labels have no space in them.
func cutLabel(line string) (label, rest string, err error) {
	label, rest, ok := strings.Cut(line, ":")
	label = strings.TrimSpace(label)
	if !ok || label == "" || strings.ContainsAny(label, " \t") {
		return "", "", fmt.Errorf("line %.60q does not start with a label and a colon", line)
	}
	return label, rest, nil
}

// since returns the count from before to after of a counter that the kernel
// prints with 32 bits in /proc/interrupts: it may have wrapped once.
func since(after, before uint64) uint64 {
	if after >= before {
		return after - before
	}
	if before < 1<<32 {
		return after + 1<<32 - before
	}
	return 0
}

// columnsSince subtracts per CPU, by CPU number: a CPU that came online in
// between counts from 0.
func columnsSince(afterCPUs []int, after []uint64, beforeCPUs []int, before []uint64) []uint64 {
	if after == nil {
		return nil
	}
	delta := make([]uint64, len(after))
	j := 0
	for i, n := range after {
		delta[i] = n
		if i >= len(afterCPUs) {
			continue
		}
		for j < len(beforeCPUs) && beforeCPUs[j] < afterCPUs[i] {
			j++
		}
		if j < len(beforeCPUs) && j < len(before) && beforeCPUs[j] == afterCPUs[i] {
			delta[i] = since(n, before[j])
		}
	}
	return delta
}

// sum adds up one row.
func sum(counts []uint64) uint64 {
	var total uint64
	for _, n := range counts {
		total += n
	}
	return total
}
