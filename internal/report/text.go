package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"sort"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"

	"doorbell/internal/ledger"
	"doorbell/vmm"
)

// maxAccessRows is how many rows of userspace exits a terminal gets; JSON has them all.
const maxAccessRows = 20

// Text writes the report for a person. What the experiments were measured on comes before them; a run's own, of which every reader knows where it was, ends with that.
func (d *Document) Text(w io.Writer) {
	if len(d.Experiments) > 0 {
		environment(w, d)
	}
	for _, e := range d.Experiments {
		fmt.Fprintln(w)
		fmt.Fprintf(w, "%s: %s\n", e.Name, e.Finding)
		e.Table.text(w)
		if with := e.parameters(); with != "" {
			fmt.Fprintf(w, "run with: %s\n", with)
		}
		for _, name := range slices.Sorted(maps.Keys(e.Missing)) {
			if d.VM != nil && e.Name == "boot" && d.VM.Missing[name] == e.Missing[name] { // the machine's own gaps are below
				continue
			}
			fmt.Fprintf(w, "not measured: %s: %s\n", name, e.Missing[name])
		}
	}
	d.Compared.text(w)
	if d.VM == nil {
		if len(d.Experiments) == 0 {
			environment(w, d)
		}
		return
	}
	d.headline(w)
	if d.Guest != nil {
		d.Guest.text(w)
	}
	exitTable(w, d.VM)
	accessTable(w, d.VM.UserspaceExits)
	comparisonTable(w, d.VM.SourcesCompared)
	lineTable(w, d.VM.Lines)
	interruptTables(w, d.VM.Interrupts)
	if line := postingLine(d.VM.Posting); line != "" {
		heading(w, "%s", line)
	}
	nmiTable(w, d.VM.NMIs)
	netTables(w, d.VM.Net)
	vfioTables(w, d.VM.VFIO)
	phases(w, d.VM, d.Environment.Emulated)
	d.missing(w)
	if len(d.Experiments) == 0 {
		fmt.Fprintln(w)
		environment(w, d)
	}
}

func (t *Table) text(w io.Writer) {
	if t == nil {
		return
	}
	fmt.Fprintln(w)
	c := columns(w)
	for _, r := range append([][]string{t.Columns}, t.Rows...) {
		fmt.Fprintln(c, strings.Join(r, "\t")+"\t")
	}
	c.Flush()
}

func (d *Document) headline(w io.Writer) {
	v := d.VM
	fmt.Fprintf(w, "\nThe guest (%d vCPUs, %s, irqchip %s) ended: %s.\n", v.VCPUs, bytes(v.MemoryBytes), v.IRQChip, v.EndReason)
	var parts []string
	if v.BootToUserspaceS != nil {
		clock := ""
		if d.Environment.Emulated {
			clock = " of an emulated clock"
		}
		parts = append(parts, fmt.Sprintf("userspace after %.2f s%s", *v.BootToUserspaceS, clock))
	}
	if v.ExitsTotal != nil {
		parts = append(parts, fmt.Sprintf("%d VM exits", *v.ExitsTotal))
	}
	if v.RSSBeyondGuestBytes != nil {
		parts = append(parts, fmt.Sprintf("%s for the VMM beside %s of guest memory (at %s)", bytes(*v.RSSBeyondGuestBytes), bytes(*v.GuestResidentBytes), v.RSSWhen))
	}
	if len(parts) > 0 {
		fmt.Fprintf(w, "%s.\n", strings.Join(parts, "; "))
	}
}

func heading(w io.Writer, format string, args ...any) {
	fmt.Fprintf(w, "\n"+format+"\n", args...)
}

// columns starts a table whose numeric cells are right-aligned.
func columns(w io.Writer) *tabwriter.Writer {
	return tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.AlignRight)
}

func (g *Guest) text(w io.Writer) {
	if g.CPUsOnline == nil {
		return
	}
	heading(w, "Where its interrupts came from (the guest's /proc/interrupts, Linux %s, %d CPUs online)", printable(g.Kernel), *g.CPUsOnline)
	t := columns(w)
	fmt.Fprint(t, "IRQ\t")
	for _, c := range g.CPUs {
		fmt.Fprintf(t, "CPU%d\t", c)
	}
	fmt.Fprintln(t, "  source")
	for _, r := range g.Interrupts {
		if r.Total == 0 {
			continue
		}
		fmt.Fprintf(t, "%s\t", printable(r.IRQ))
		for _, n := range r.PerCPU[:min(len(r.PerCPU), len(g.CPUs))] {
			fmt.Fprintf(t, "%d\t", n)
		}
		for range len(g.CPUs) - len(r.PerCPU) {
			fmt.Fprint(t, "\t")
		}
		source := r.Name
		if r.Chip != "" {
			source = strings.TrimSpace(r.Chip + " " + r.HWIRQ + dash(r.Trigger) + "  " + r.Name)
		}
		fmt.Fprintf(t, "  %s\n", printable(source))
	}
	t.Flush()
}

// printable keeps what a guest calls its interrupts from moving the cursor or the columns.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

func dash(s string) string {
	if s == "" {
		return ""
	}
	return "-" + s
}

// exitTable prints exits by reason and vCPU, with the source of each row.
func exitTable(w io.Writer, v *vmm.Account) {
	heading(w, "What its VM exits were")
	c := columns(w)
	t := exitsByReason(v)
	for _, r := range append([][]string{t.Columns}, t.Rows...) {
		last := len(r) - 1
		fmt.Fprintf(c, "%s\t  %s\n", strings.Join(r[:last], "\t"), r[last]) // whose cells are no figures, and begin on the left
	}
	c.Flush()
}

func accessTable(w io.Writer, rows []ledger.AccessRow) {
	if len(rows) == 0 {
		return
	}
	heading(w, "Which of them reached doorbell, by device")
	t := columns(w)
	fmt.Fprintln(t, "device\tregister\tdirection\tbytes\texits\t")
	var rest uint64
	for i, r := range rows {
		if i >= maxAccessRows {
			rest += r.Count
			continue
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\t\n", r.Device, r.Register, r.Direction, r.Width, r.Count)
	}
	if rest > 0 {
		fmt.Fprintf(t, "%d rows more\t\t\t\t%d\t\n", len(rows)-maxAccessRows, rest)
	}
	t.Flush()
}

func comparisonTable(w io.Writer, rows []vmm.Comparison) {
	if len(rows) == 0 {
		return
	}
	heading(w, "The same thing as different sources count it")
	t := columns(w)
	fmt.Fprintln(t, "\tKVM statistics\ttracepoint\tuserspace\t  ")
	for _, r := range rows {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t  %s\n", r.What, count(r.KVMStats), count(r.Tracepoint), count(r.Userspace), r.Note)
	}
	t.Flush()
}

func lineTable(w io.Writer, rows []ledger.LineRow) {
	for _, r := range rows {
		if r.Raised > 0 {
			heading(w, "Device %s raised GSI %d %d times.", r.Device, r.GSI, r.Raised)
		}
	}
}

func nmiTable(w io.Writer, rows []vmm.NMIRow) {
	for _, r := range rows {
		if r.Queued > 0 {
			heading(w, "The NMI button was pressed: vCPU %d got %d NMIs.", r.VCPU, r.Queued)
		}
	}
	if len(rows) > 0 && !slices.ContainsFunc(rows, func(r vmm.NMIRow) bool { return r.Queued > 0 }) {
		heading(w, "The NMI button was pressed, but no vCPU's local APIC took NMIs from LINT1.")
	}
}

func phases(w io.Writer, v *vmm.Account, emulated bool) {
	if emulated {
		heading(w, "When, by an emulated clock: the order and the exits are exact, the times are not")
	} else {
		heading(w, "When")
	}
	t := columns(w)
	for _, p := range v.Phases {
		exits := ""
		if n := p.AllExits(); n != nil {
			exits = fmt.Sprintf("%d exits", *n)
		}
		fmt.Fprintf(t, "%.3f s\t%s\t  %s\n", p.AtS, exits, p.Name)
	}
	t.Flush()
}

func (d *Document) missing(w io.Writer) {
	all := map[string]string{}
	for k, v := range d.VM.Missing {
		all["vm."+k] = v
	}
	if d.Guest != nil {
		for k, v := range d.Guest.Missing {
			all["guest."+k] = v
		}
	}
	if len(all) == 0 {
		return
	}
	heading(w, "Not measured")
	keys := make([]string, 0, len(all))
	for k := range all {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		fmt.Fprintf(w, "  %s: %s\n", k, all[k])
	}
}

func environment(w io.Writer, d *Document) {
	e := d.Environment
	fmt.Fprintf(w, "Measured on %s, %s, %d CPUs, Linux %s.\n", e.Backend, e.CPU, e.CPUs, e.Kernel)
	about := []string{"local APICs " + yesOr(e.APICVirtualized, "by hardware", "in software") + " (" + e.APICEvidence + ")"}
	if e.HaltPollNs != nil {
		about = append(about, fmt.Sprintf("halt polling %d ns", *e.HaltPollNs))
	}
	if e.Mitigations != "" {
		about = append(about, "mitigations="+e.Mitigations)
	}
	if text := affected(e.Vulnerabilities); text != "" {
		about = append(about, "vulnerable to "+text)
	}
	fmt.Fprintf(w, "With %s.\n", strings.Join(about, "; "))
	if e.Emulated {
		fmt.Fprintln(w, "The host is emulated: counts are exact, times are not (compare them within one run only).")
	}
}

func count(n *uint64) string {
	if n == nil {
		return "-"
	}
	return strconv.FormatUint(*n, 10)
}

// bytes is a size in the unit that reads best.
func bytes(n uint64) string {
	switch {
	case n >= 1<<30 && n%(1<<30) == 0:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%d KiB", n>>10)
}
