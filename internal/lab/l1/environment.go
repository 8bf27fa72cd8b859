package l1

import (
	"slices"
	"strings"
)

// environment returns L1's own variables with those of env over them.
func environment(env []string) []string {
	const path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	all := []string{"HOME=/root", path, "TERM=dumb"}
	for _, v := range env {
		name, value, ok := strings.Cut(v, "=")
		if !ok || name == "" {
			continue
		}
		// The lab's own binary is in /usr/bin, and scripts expect it in PATH.
		if name == "PATH" && !slices.Contains(strings.Split(value, ":"), "/usr/bin") {
			v += ":/usr/bin"
		}
		all = append(all, v)
	}
	return dedupe(all)
}

// dedupe keeps the last of each variable: programs differ in which they take.
func dedupe(env []string) []string {
	at := map[string]int{}
	var kept []string
	for _, v := range env {
		name, _, _ := strings.Cut(v, "=")
		if i, ok := at[name]; ok {
			kept[i] = v
			continue
		}
		at[name] = len(kept)
		kept = append(kept, v)
	}
	return kept
}
