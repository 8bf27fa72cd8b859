package kvmtrace

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// instance is a trace instance of our own. Each event of it can have a histogram.
type instance struct{ dir string }

func newInstance(root string) (instance, error) {
	dir := filepath.Join(root, "instances", fmt.Sprintf("doorbell-%d-%d", os.Getpid(), serial.Add(1)))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return instance{}, fmt.Errorf("trace instance: %w", err)
	}
	return instance{dir}, nil
}

func (i instance) event(name, file string) string {
	return filepath.Join(i.dir, "events/kvm", name, file)
}

// count starts an event's histogram.
func (i instance) count(event, definition string) error {
	return os.WriteFile(i.event(event, "trigger"), []byte(definition), 0)
}

// close removes the histograms and the instance.
func (i instance) close() error {
	triggers, _ := filepath.Glob(i.event("*", "trigger"))
	for _, t := range triggers {
		if b, err := os.ReadFile(t); err == nil && strings.HasPrefix(string(b), "hist:") {
			_ = os.WriteFile(t, []byte("!"+strings.TrimSpace(string(b))), 0)
		}
	}
	return os.Remove(i.dir)
}

// row is one entry of a histogram: its keys' values by name, and how often they occurred.
type row struct {
	keys map[string]uint64
	n    uint64
}

var (
	histogramRow  = regexp.MustCompile(`^\{ (.*) \} hitcount:\s*(\d+)`)
	histogramKeys = regexp.MustCompile(`([a-z_]+):\s*(\d+)`)
)

// histogram reads an event's histogram.
func (i instance) histogram(event string) ([]row, uint64, error) {
	f, err := os.Open(i.event(event, "hist"))
	if err != nil {
		return nil, 0, fmt.Errorf("the %s tracepoint: %w", event, err)
	}
	defer f.Close()
	rows, lost, err := parseRows(f)
	if err != nil {
		err = fmt.Errorf("the %s tracepoint: %w", event, err)
	}
	return rows, lost, err
}

// parseRows parses the kernel's rendering of a histogram, one entry a line, and how many hits had no room in it.
func parseRows(r io.Reader) (rows []row, lost uint64, err error) {
	s := bufio.NewScanner(r)
	for s.Scan() {
		if m := dropped.FindStringSubmatch(s.Text()); m != nil {
			lost, _ = strconv.ParseUint(m[1], 10, 64)
		}
		m := histogramRow.FindStringSubmatch(s.Text())
		if m == nil {
			continue
		}
		one := row{keys: map[string]uint64{}}
		for _, k := range histogramKeys.FindAllStringSubmatch(m[1], -1) {
			if one.keys[k[1]], err = strconv.ParseUint(k[2], 10, 64); err != nil {
				return nil, 0, fmt.Errorf("histogram line %q: %w", s.Text(), err)
			}
		}
		if one.n, err = strconv.ParseUint(m[2], 10, 64); err != nil {
			return nil, 0, fmt.Errorf("histogram line %q: %w", s.Text(), err)
		}
		rows = append(rows, one)
	}
	return rows, lost, s.Err()
}
