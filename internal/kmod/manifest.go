package kmod

import (
	"fmt"
	"strings"
)

// An Entry is one module of a manifest.
type Entry struct {
	// Name is canonical.
	Name string
	// Path is where the uncompressed module is, in the file system of the
	// Linux that loads it.
	Path string
	// Needs are the names of the modules that must be loaded before.
	Needs []string
	// Aliases are glob patterns of device names (modaliases). A module with
	// aliases is loaded when a device matches one of them, or when another
	// module needs it. A module without any is loaded when Always is set, or
	// when another module needs it.
	Aliases []string
	// Always loads the module whatever devices there are.
	Always bool
}

// A Manifest lists modules so that each comes after those that it needs.
type Manifest []Entry

// The words that start a manifest's lines, and the one for an empty list.
const (
	wordAlways = "always"
	wordDevice = "device"
	wordNone   = "-"
)

// maxEntries bounds what Parse accepts: a whole distribution kernel has about
// 4500 modules.
const maxEntries = 10_000

// String formats the manifest: one line per module with when it is loaded, its
// name, its path, what it needs (separated by commas) and its aliases. Parse
// reads it. Names and paths with white space in them cannot be written.
func (m Manifest) String() string {
	var b strings.Builder
	for _, e := range m {
		when, needs := wordDevice, wordNone
		if e.Always {
			when = wordAlways
		}
		if len(e.Needs) > 0 {
			needs = strings.Join(e.Needs, ",")
		}
		b.WriteString(when + " " + e.Name + " " + e.Path + " " + needs)
		for _, alias := range e.Aliases {
			b.WriteString(" " + alias)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// Parse reads what String wrote. It checks that the order is sound.
func Parse(text string) (Manifest, error) {
	var m Manifest
	known := map[string]bool{}
	number := 0
	for line := range strings.Lines(text) {
		number++
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if len(fields) < 4 || fields[0] != wordAlways && fields[0] != wordDevice {
			return nil, fmt.Errorf("module manifest: line %d is not of the form WHEN NAME PATH NEEDS [ALIAS ...]", number)
		}
		e := Entry{Always: fields[0] == wordAlways, Name: fields[1], Path: fields[2]}
		if len(fields) > 4 {
			e.Aliases = fields[4:]
		}
		if known[e.Name] {
			return nil, fmt.Errorf("module manifest: line %d: %.64q is there twice", number, e.Name)
		}
		if fields[3] != wordNone {
			e.Needs = strings.Split(fields[3], ",")
		}
		for _, need := range e.Needs {
			if !known[need] {
				return nil, fmt.Errorf("module manifest: line %d: %.64q needs %.64q, which is not above it", number, e.Name, need)
			}
		}
		if len(m) == maxEntries {
			return nil, fmt.Errorf("module manifest: more than %d modules", maxEntries)
		}
		known[e.Name] = true
		m = append(m, e)
	}
	return m, nil
}
