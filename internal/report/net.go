package report

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"doorbell/vmm"
)

// netTables prints the network card's way of a packet: queue, vector, vCPU.
func netTables(w io.Writer, n *vmm.NetAccount) {
	if n == nil {
		return
	}
	heading(w, "Its network card net0 (%s, %s; %d of %d queue pairs in use; steering: %s)", n.Backend, n.MAC, n.ActivePairs, n.QueuePairs, n.Steering)
	features(w, n)
	t := columns(w)
	fmt.Fprintln(t, "queue\tpackets\tbytes\tkicks\tavoided\tbatches\tinterrupts\tsuppressed\tcoalesced\tdrops\tvector\t  which went to")
	to := map[int]string{}
	for _, v := range n.Vectors {
		to[v.Vector] = destination(v)
	}
	for _, q := range n.Queues {
		vector, where := "-", ""
		if q.Vector != nil {
			vector, where = fmt.Sprint(*q.Vector), to[*q.Vector]
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%s\t  %s\n", q.Queue, q.Packets, q.Bytes, q.Kicks, q.KicksAvoided, q.Batches,
			q.Interrupts, q.Suppressed, q.Coalesced, drops(q.Drops), vector, where)
	}
	t.Flush()
	heading(w, "Its vectors (MSI-X; the routing table was changed %d times)", n.RouteChanges)
	t = columns(w)
	fmt.Fprintln(t, "vector\tfired\tsuppressed\tmasked\tcoalesced\tre-fired\tunmasked\trouted\t  of, to")
	for _, v := range n.Vectors {
		if v.Routings > 0 || v.Fired > 0 {
			fmt.Fprintf(t, "%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t  %s, %s\n", v.Vector, v.Fired, v.Suppressed, v.Masked, v.Coalesced, v.Refired, v.Unmaskings, v.Routings, v.Queue, destination(v))
		}
	}
	t.Flush()
	fmt.Fprintln(w, posting(n.Vectors))
	if len(n.BehindDrops) > 0 {
		heading(w, "Lost behind the card: %s", drops(n.BehindDrops))
	}
	if n.NeedsReset {
		heading(w, "The card gave up on its driver (DEVICE_NEEDS_RESET).")
	}
	for _, e := range n.Events {
		heading(w, "net0, %d times: %s", e.Count, printable(e.Event))
	}
}

// features says what the driver made of the card's offer, in the command line's spelling of the names.
func features(w io.Writer, n *vmm.NetAccount) {
	if n.Ring == nil {
		fmt.Fprintln(w, "No driver negotiated its features.")
		return
	}
	taken := map[string]bool{}
	for _, f := range n.Features {
		taken[f] = true
	}
	left := slices.DeleteFunc(slices.Clone(n.Offered), func(f string) bool { return taken[f] })
	fmt.Fprintf(w, "Rings: %s. Features in use: %s", *n.Ring, featureList(n.Features))
	if len(left) > 0 {
		fmt.Fprintf(w, "; offered, but not taken: %s", featureList(left))
	}
	if len(n.Off) > 0 {
		fmt.Fprintf(w, "; off: %s", featureList(n.Off))
	}
	fmt.Fprintln(w)
}

func featureList(names []string) string { return strings.ToLower(strings.Join(names, " ")) }

// destination is where a vector's message goes, for people.
func destination(v vmm.VectorRow) string {
	switch {
	case v.Routings == 0:
		return "nowhere yet"
	case v.VCPU != nil:
		return fmt.Sprintf("vCPU %d vector %#x", *v.VCPU, *v.IDTVector)
	case v.Message != "":
		return v.Message
	}
	return fmt.Sprintf("no interrupt controller (%#x)", v.Address)
}

// drops lists losses by reason, or "-".
func drops(by map[string]uint64) string {
	var all []string
	for why, n := range by {
		all = append(all, fmt.Sprintf("%s %d", why, n))
	}
	slices.Sort(all)
	if len(all) == 0 {
		return "-"
	}
	return strings.Join(all, ", ")
}
