package guestreport

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Stat is /proc/stat, without its list of counts by interrupt number:
// Interrupts has those by CPU.
type Stat struct {
	CPUs []CPUTime `json:"cpus"`
	// Interrupts is the number of all interrupts served since boot, the
	// architecture's own vectors included.
	Interrupts uint64 `json:"interrupts_total"`
	// Softirqs is the number of all softirqs run.
	Softirqs        uint64 `json:"softirqs_total"`
	ContextSwitches uint64 `json:"context_switches"`
	// Processes is the number of processes and threads ever created.
	Processes uint64 `json:"processes"`
}

// CPUTime is where one CPU's time went, in ticks of 1/UserHz s.
type CPUTime struct {
	CPU     int    `json:"cpu"`
	User    uint64 `json:"user_ticks"`
	Nice    uint64 `json:"nice_ticks"`
	System  uint64 `json:"system_ticks"`
	Idle    uint64 `json:"idle_ticks"`
	IOWait  uint64 `json:"iowait_ticks"`
	IRQ     uint64 `json:"irq_ticks"`
	Softirq uint64 `json:"softirq_ticks"`
	// Steal is time that the hypervisor gave to others while this CPU wanted
	// to run.
	Steal uint64 `json:"steal_ticks"`
}

// columns are the fields in the order of the file; kernels have all of them
// since 2.6.11, later ones append more.
func (t *CPUTime) columns() []*uint64 {
	return []*uint64{&t.User, &t.Nice, &t.System, &t.Idle, &t.IOWait, &t.IRQ, &t.Softirq, &t.Steal}
}

// ParseStat reads the text of /proc/stat.
func ParseStat(text string) (Stat, error) {
	var s Stat
	for line := range strings.Lines(text) {
		key, rest := cutWord(strings.TrimRight(line, "\r\n"))
		var total *uint64
		switch key {
		case "intr":
			total = &s.Interrupts
		case "softirq":
			total = &s.Softirqs
		case "ctxt":
			total = &s.ContextSwitches
		case "processes":
			total = &s.Processes
		default:
			if number, ok := strings.CutPrefix(key, "cpu"); ok && number != "" {
				t, err := parseCPUTime(number, rest)
				if err != nil {
					return Stat{}, fmt.Errorf("/proc/stat: %.16q: %w", key, err)
				}
				s.CPUs = append(s.CPUs, t)
			}
			continue
		}
		counts, _ := cutCounts(rest, 1)
		if len(counts) == 0 {
			return Stat{}, fmt.Errorf("/proc/stat: %.16q has no count", key)
		}
		*total = counts[0]
	}
	if len(s.CPUs) == 0 {
		return Stat{}, errors.New("/proc/stat: no CPU in it")
	}
	return s, nil
}

func parseCPUTime(number, rest string) (CPUTime, error) {
	n, err := strconv.ParseUint(number, 10, 31)
	if err != nil {
		return CPUTime{}, errors.New("not a CPU number")
	}
	t := CPUTime{CPU: int(n)}
	columns := t.columns()
	counts, _ := cutCounts(rest, len(columns))
	if len(counts) < len(columns) {
		return CPUTime{}, fmt.Errorf("%d times where at least %d belong", len(counts), len(columns))
	}
	for i, c := range columns {
		*c = counts[i]
	}
	return t, nil
}

// Since returns what s counted after before was taken. Idle and I/O wait times
// may go backwards on a tickless kernel; that counts as 0.
func (s *Stat) Since(before *Stat) Stat {
	delta := Stat{
		CPUs:            make([]CPUTime, len(s.CPUs)),
		Interrupts:      monotonic(s.Interrupts, before.Interrupts),
		Softirqs:        monotonic(s.Softirqs, before.Softirqs),
		ContextSwitches: monotonic(s.ContextSwitches, before.ContextSwitches),
		Processes:       monotonic(s.Processes, before.Processes),
	}
	earlier := make(map[int]*CPUTime, len(before.CPUs))
	for i := range before.CPUs {
		earlier[before.CPUs[i].CPU] = &before.CPUs[i]
	}
	for i, t := range s.CPUs {
		if old := earlier[t.CPU]; old != nil {
			columns := old.columns()
			for k, c := range t.columns() {
				*c = monotonic(*c, *columns[k])
			}
		}
		delta.CPUs[i] = t
	}
	return delta
}

// monotonic is for counters of 64 bits: less than before means no progress.
func monotonic(after, before uint64) uint64 {
	if after < before {
		return 0
	}
	return after - before
}
