package network

import (
	"fmt"
	"io"
	"iter"
	"maps"
	"text/tabwriter"

	"doorbell/tests/compare/rounds"
)

// results are all samples, by arm and load.
type results map[*arm][][]sample

func (r results) add(a *arm, samples []sample) {
	if r[a] == nil {
		r[a] = make([][]sample, len(loads))
	}
	for i, s := range samples {
		r[a][i] = append(r[a][i], s)
	}
}

// arms are those that ran.
func (r results) arms() iter.Seq[*arm] { return maps.Keys(r) }

// baseline is QEMU's arm with the same backend, or nil if it did not run.
func (r results) baseline(a *arm) *arm {
	for b := range r {
		if b.qemu && b.backend == a.backend {
			return b
		}
	}
	return nil
}

// figures are the columns of the table.
var figures = []struct {
	name   string
	format string
	of     func(sample) float64
}{
	{"rate", "%.1f", func(s sample) float64 { return s.rate }},
	{"exits/packet", "%.3f", sample.exitsPerPacket},
	{"interrupts/packet", "%.3f", sample.interruptsPerPacket},
	{"VMM's own µs/packet", "%.1f", sample.ownPerPacket},
}

func (r results) print(out io.Writer, chosen []*arm, order rounds.Rounds) {
	fmt.Fprintf(out, "Network, %s vCPUs, %s MiB, same kernel and initramfs; medians of %d rounds, seed %#x\n", vcpus, memoryMiB, order.Count, order.Seed)
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', tabwriter.AlignRight)
	for i := range loads {
		fmt.Fprintf(w, "\n%s\t", loads[i].name)
		for _, f := range figures {
			name := f.name
			if name == "rate" {
				name = loads[i].unit
			}
			fmt.Fprintf(w, "%s\t/ QEMU\t", name)
		}
		fmt.Fprint(w, "frames\t\n")
		for _, a := range chosen {
			fmt.Fprintf(w, "%s (%s)\t", a.name, a.note)
			base := r.baseline(a)
			for _, f := range figures {
				v := rounds.Median(r[a][i], f.of)
				ratio := "-"
				if base != nil {
					ratio = fmt.Sprintf("%.2f", v/rounds.Median(r[base][i], f.of))
				}
				fmt.Fprintf(w, f.format+"\t%s\t", v, ratio)
			}
			fmt.Fprintf(w, "%.0f\t\n", rounds.Median(r[a][i], func(s sample) float64 { return s.rx + s.tx }))
		}
	}
	for _, a := range chosen {
		if a.qemu || r.baseline(a) == nil {
			continue
		}
		fmt.Fprintf(w, "\nover all loads, geometric mean of / QEMU\t")
		for _, f := range figures {
			fmt.Fprintf(w, "%s\t\t", f.name)
		}
		fmt.Fprintf(w, "\t\n%s (%s)\t", a.name, a.note)
		for _, f := range figures {
			fmt.Fprintf(w, "\t%.2f\t", r.mean(a, f.of))
		}
		fmt.Fprint(w, "\t\n")
	}
	w.Flush()
}
