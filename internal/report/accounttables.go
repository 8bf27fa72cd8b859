package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"doorbell/vmm"
)

// AccountTables are a machine's exits by reason and vCPU, those that reached doorbell, and its time line, for a page. A terminal gets the same from the
// document's account. On an emulated host the time line has its order and its exits.
func AccountTables(a *vmm.Account, emulated bool) []*Table {
	tables := []*Table{exitsByReason(a), exitsByDevice(a), timeLine(a, emulated)}
	return slices.DeleteFunc(tables, func(t *Table) bool { return len(t.Rows) == 0 })
}

// exitsByReason has the most frequent reason first, what no source explains last, and then the sums.
func exitsByReason(a *vmm.Account) *Table {
	total, source := map[string]int64{}, map[string]string{}
	for _, r := range a.ExitRows {
		total[r.Reason] += r.Count
		source[r.Reason] = r.Source
	}
	reasons := slices.SortedFunc(maps.Keys(total), func(x, y string) int {
		switch {
		case x == y:
			return 0
		case x == vmm.Other:
			return 1
		case y == vmm.Other:
			return -1
		}
		return cmp.Or(cmp.Compare(total[y], total[x]), cmp.Compare(x, y))
	})
	t := &Table{Title: "VM exits by reason and vCPU", Columns: []string{"reason"}}
	for _, c := range a.ExitsByVCPU {
		t.Columns = append(t.Columns, fmt.Sprintf("vCPU%d", c.VCPU))
	}
	t.Columns = append(t.Columns, "total", "source")
	for _, r := range reasons {
		cells := []string{r}
		for _, c := range a.ExitsByVCPU {
			cells = append(cells, strconv.FormatInt(c.ByReason[r], 10))
		}
		t.Rows = append(t.Rows, append(cells, strconv.FormatInt(total[r], 10), source[r]))
	}
	if a.ExitsTotal != nil {
		cells := []string{"all"}
		for _, c := range a.ExitsByVCPU {
			cells = append(cells, strconv.FormatUint(c.Exits, 10))
		}
		t.Rows = append(t.Rows, append(cells, count(a.ExitsTotal), "KVM statistics: exits"))
	}
	return t
}

func exitsByDevice(a *vmm.Account) *Table {
	t := &Table{Title: "VM exits that reached doorbell, by device", Columns: []string{"device", "register", "direction", "bytes", "exits"}}
	for _, r := range a.UserspaceExits {
		t.Rows = append(t.Rows, []string{r.Device, r.Register, r.Direction, fmt.Sprint(r.Width), fmt.Sprint(r.Count)})
	}
	return t
}

func timeLine(a *vmm.Account, emulated bool) *Table {
	t := &Table{Title: "Phases, with the exits so far", Columns: []string{"phase", "at, s", "exits"}}
	if emulated {
		t.Title += "; the clock is emulated, so there are no times"
	}
	for _, p := range a.Phases {
		at := "-"
		if !emulated {
			at = strconv.FormatFloat(p.AtS, 'f', 3, 64)
		}
		t.Rows = append(t.Rows, []string{printable(p.Name), at, count(p.AllExits())})
	}
	return t
}
