package report

import (
	"fmt"
	"io"
	"strings"

	"doorbell/internal/ledger"
)

// interruptTables say what the interrupt controllers did.
func interruptTables(w io.Writer, i ledger.Interrupts) {
	vectorTable(w, i.Vectors)
	ipiTable(w, i.IPIs)
	pinTable(w, i.Pins)
	if len(i.PICs) > 0 {
		heading(w, "Its PICs' interrupts")
		t := columns(w)
		fmt.Fprintln(t, "IRQ\traised\tacknowledged\tEOIs\t")
		for _, r := range i.PICs {
			fmt.Fprintf(t, "%d\t%d\t%d\t%d\t\n", r.IRQ, r.Raised, r.Acknowledged, r.EOIs)
		}
		t.Flush()
	}
	kickTable(w, i.Kicks)
}

// vectorTable sums a vector over the vCPUs; JSON has each of them.
func vectorTable(w io.Writer, rows []ledger.VectorRow) {
	if len(rows) == 0 {
		return
	}
	heading(w, "What became of each vector (%s)", rows[0].Path)
	t := columns(w)
	fmt.Fprintln(t, "vector\traised\tposted\tcoalesced\tdelivered\tdropped\tEOIs\twithout exit\texits per interrupt\t  at vCPU\t  of")
	for at := 0; at < len(rows); {
		var sum ledger.VectorRow
		where, of := "", ""
		vector := rows[at].Vector
		for ; at < len(rows) && rows[at].Vector == vector; at++ {
			r := rows[at]
			sum.Raised, sum.Coalesced, sum.Delivered = plus(sum.Raised, r.Raised), plus(sum.Coalesced, r.Coalesced), plus(sum.Delivered, r.Delivered)
			sum.Dropped, sum.EOIs, sum.EOIsWithoutExit = plus(sum.Dropped, r.Dropped), plus(sum.EOIs, r.EOIs), plus(sum.EOIsWithoutExit, r.EOIsWithoutExit)
			sum.Posted = plus(sum.Posted, r.Posted)
			where += fmt.Sprintf(" %d", r.VCPU)
			if r.Source != "" && !strings.Contains(of, r.Source) {
				of += ", " + r.Source
			}
		}
		sum.Cost()
		fmt.Fprintf(t, "%#02x\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t %s\t  %s\n", vector, count(sum.Raised), count(sum.Posted), count(sum.Coalesced), count(sum.Delivered), count(sum.Dropped),
			count(sum.EOIs), count(sum.EOIsWithoutExit), ratio(sum.ExitsPerIRQ), where, strings.TrimPrefix(of, ", "))
	}
	t.Flush()
}

// ratio is a figure with two digits, or a dash if it is unknown.
func ratio(v *float64) string {
	if v == nil {
		return "-"
	}
	return fmt.Sprintf("%.2f", *v)
}

// plus adds figures that may be unknown.
func plus(a, b *uint64) *uint64 {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	n := *a + *b
	return &n
}

func ipiTable(w io.Writer, rows []ledger.IPIRow) {
	if len(rows) == 0 {
		return
	}
	heading(w, "The IPIs that its vCPUs sent")
	t := columns(w)
	fmt.Fprintln(t, "mode\tto\tcount\t")
	for _, r := range rows {
		fmt.Fprintf(t, "%s\t%s\t%d\t\n", r.Mode, r.Destination, r.Count)
	}
	t.Flush()
}

func pinTable(w io.Writer, rows []ledger.PinRow) {
	if len(rows) == 0 {
		return
	}
	heading(w, "Its IOAPIC's pins")
	t := columns(w)
	fmt.Fprintln(t, "pin\tvector\ttrigger\traised\tdelivered\tcoalesced\tmasked\tnobody\tEOIs\tIOAPIC_EOI exits\tredelivered\tthrottled\t")
	for _, r := range rows {
		fmt.Fprintf(t, "%d\t%#02x\t%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", r.Pin, r.Vector, r.Trigger, r.Raised, count(r.Delivered), count(r.Coalesced),
			count(r.Masked), count(r.Nobody), count(r.EOIs), count(r.EOIExits), count(r.Redelivered), count(r.Throttled))
	}
	t.Flush()
}

func kickTable(w io.Writer, rows []ledger.KickRow) {
	any := false
	for _, r := range rows {
		any = any || r.Asked+r.Windows+r.Injected > 1 // the one that ended it
	}
	if !any {
		return
	}
	heading(w, "What it took to reach its vCPUs")
	t := columns(w)
	fmt.Fprintln(t, "vCPU\tkicks asked\tsignals\twake-ups\tKVM_RUN interrupted\tinterrupt windows\tKVM_INTERRUPT\t")
	for _, r := range rows {
		fmt.Fprintf(t, "%d\t%d\t%d\t%d\t%d\t%d\t%d\t\n", r.VCPU, r.Asked, r.Signals, r.Wakeups, r.EINTR, r.Windows, r.Injected)
	}
	t.Flush()
}
