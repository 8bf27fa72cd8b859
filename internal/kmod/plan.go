package kmod

import (
	"path"
	"slices"
	"strings"
)

// Plan returns the modules to load now, in order: those that are always
// loaded, those that one of the modaliases asks for, and what they need;
// without those that loaded has already. Loading a bus driver may bring new
// devices, so ask again after loading until nothing comes.
func (m Manifest) Plan(modaliases []string, loaded map[string]bool) Manifest {
	wanted := map[string]bool{}
	for i := range slices.Backward(m) {
		e := &m[i]
		if loaded[e.Name] || !(wanted[e.Name] || e.Always || e.matches(modaliases)) {
			continue
		}
		wanted[e.Name] = true
		for _, need := range e.Needs {
			wanted[need] = true
		}
	}
	var plan Manifest
	for _, e := range m {
		if wanted[e.Name] && !loaded[e.Name] {
			plan = append(plan, e)
		}
	}
	return plan
}

func (e *Entry) matches(modaliases []string) bool {
	for _, pattern := range e.Aliases {
		for _, alias := range modaliases {
			// A pattern that is malformed matches nothing.
			if ok, err := path.Match(pattern, alias); ok && err == nil {
				return true
			}
		}
	}
	return false
}

// Buses returns the names of the buses below /sys/bus that the aliases of m can
// match, in alphabetical order: a modalias starts with its bus.
func (m Manifest) Buses() []string {
	var buses []string
	for _, e := range m {
		for _, alias := range e.Aliases {
			end := strings.IndexFunc(alias, func(r rune) bool { return (r < 'a' || r > 'z') && r != '_' })
			if end > 0 {
				buses = append(buses, alias[:end])
			}
		}
	}
	slices.Sort(buses)
	return slices.Compact(buses)
}
