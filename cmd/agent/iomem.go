package main

import (
	"strconv"
	"strings"
)

// findResource looks for a range by name in the text of /proc/iomem, whose
// lines have the form "  d0000000-d0100fff : NAME", indented by depth.
func findResource(text, name string) (start, size uint64, ok bool) {
	for line := range strings.Lines(text) {
		extent, label, found := strings.Cut(line, " : ")
		if !found || strings.TrimSpace(label) != name {
			continue
		}
		first, last, found := strings.Cut(strings.TrimSpace(extent), "-")
		start, err1 := strconv.ParseUint(first, 16, 64)
		end, err2 := strconv.ParseUint(last, 16, 64)
		// Without CAP_SYS_ADMIN all addresses read as 0.
		if !found || err1 != nil || err2 != nil || end <= start {
			continue
		}
		return start, end - start + 1, true
	}
	return 0, 0, false
}
