package memory

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// sumRss adds up the Rss of the mappings in smaps (proc_pid_smaps(5)) that lie
// within [lo, hi). The kernel splits one mmap into several entries where parts
// of it differ, so there may be any number of them.
func sumRss(smaps io.Reader, lo, hi uint64) (uint64, error) {
	var sum uint64
	inside, found := false, false
	lines := bufio.NewScanner(smaps)
	for lines.Scan() {
		key, rest, _ := strings.Cut(lines.Text(), " ")
		if from, to, ok := addressRange(key); ok {
			inside = from >= lo && to <= hi
			found = found || inside
			continue
		}
		if !inside || key != "Rss:" {
			continue
		}
		kb, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 54)
		if err != nil {
			return 0, fmt.Errorf("smaps: Rss line %q: %w", lines.Text(), err)
		}
		sum += kb << 10
	}
	if err := lines.Err(); err != nil {
		return 0, fmt.Errorf("smaps: %w", err)
	}
	if !found {
		return 0, fmt.Errorf("smaps: no entry within %#x-%#x", lo, hi)
	}
	return sum, nil
}

// addressRange parses the "from-to" that begins an entry.
func addressRange(s string) (from, to uint64, ok bool) {
	a, b, ok := strings.Cut(s, "-")
	if !ok {
		return 0, 0, false
	}
	from, err := strconv.ParseUint(a, 16, 64)
	if err != nil {
		return 0, 0, false
	}
	to, err = strconv.ParseUint(b, 16, 64)
	return from, to, err == nil
}
