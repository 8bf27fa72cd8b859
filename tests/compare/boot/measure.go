// Package boot measures what a boot costs under doorbell, QEMU and gokvm: the same kernel, the same initramfs, one vCPU, no devices.
package boot

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"doorbell/internal/kvm"
	"doorbell/internal/kvmtrace"
	"doorbell/internal/probe"
	"doorbell/tests/compare/host"
	"doorbell/tests/compare/process"
	"doorbell/tests/compare/rounds"

	"github.com/creack/pty"
)

// marker is the first line of the guest's /init.
const marker = "doorbell-agent: userspace"

// limit bounds one run; gokvm needs some ten seconds in the lab.
const limit = 2 * time.Minute

// result is one run of an arm, up to the guest's userspace.
type result struct {
	seconds           float64
	exits, io, faults uint64
	beyond            uint64 // resident bytes of the VMM, less the guest's memory
}

// Measure runs every arm and prints the table. An error also says which promise of doorbell's this run did not keep.
func Measure(ctx context.Context, s *host.Setup, r rounds.Rounds) error {
	all := arms(s)
	results := make([][]result, len(all))
	err := r.Run(len(all), func(round, i int) error {
		fmt.Fprintf(os.Stderr, "compare: boot, round %d of %d: %s\n", round+1, r.Count, all[i].name)
		one, err := runArm(ctx, all[i])
		if err != nil {
			return fmt.Errorf("%s: %w", all[i].name, err)
		}
		results[i] = append(results[i], one)
		return nil
	})
	if err != nil {
		return err
	}
	table(all, results, r.Seed)
	return budgets(results[0], results[slices.IndexFunc(all, func(a arm) bool { return a.name == baseline })])
}

// budgets are doorbell's promises: an error names the first that this run did not keep.
func budgets(doorbell, qemu []result) error {
	const (
		timeRatio = 0.8
		exits     = 10000
		faults    = 2000
		beyond    = 25 << 20
	)
	if r := rounds.Median(doorbell, seconds) / rounds.Median(qemu, seconds); r > timeRatio {
		return fmt.Errorf("doorbell took %.2f of QEMU's time to userspace, more than %.1f", r, timeRatio)
	}
	for _, b := range []struct {
		what  string
		of    func(result) float64
		limit float64
	}{
		{"VM exits", func(r result) float64 { return float64(r.exits) }, exits},
		{"nested page faults", func(r result) float64 { return float64(r.faults) }, faults},
		{"resident bytes beyond guest memory", func(r result) float64 { return float64(r.beyond) }, beyond},
	} {
		if n := rounds.Median(doorbell, b.of); n > b.limit {
			return fmt.Errorf("doorbell needed %.0f %s, more than %.0f", n, b.what, b.limit)
		}
	}
	return nil
}

func seconds(r result) float64 { return r.seconds }

// runArm starts a VMM on a terminal (gokvm hangs without one) and looks at it when its guest reaches userspace.
func runArm(ctx context.Context, a arm) (r result, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	trace, err := kvmtrace.Start(kvm.HostVendor(), nil)
	if err != nil {
		return r, err
	}
	defer trace.Close()
	c := exec.CommandContext(ctx, a.argv[0], a.argv[1:]...)
	start := time.Now()
	tty, err := pty.Start(c)
	if err != nil {
		return r, err
	}
	defer tty.Close()
	defer func() {
		c.Process.Kill()
		c.Wait()
	}()
	var seen bytes.Buffer
	for lines := bufio.NewReader(tty); ; {
		l, rerr := lines.ReadString('\n')
		seen.WriteString(l)
		if strings.Contains(l, marker) {
			break
		}
		if rerr != nil {
			return r, fmt.Errorf("ended before its guest reached userspace (%v):\n%s", rerr, &seen)
		}
	}
	r.seconds = time.Since(start).Seconds()
	if r.beyond, err = process.ResidentBeyond(c.Process.Pid, memoryMiB<<20); err != nil {
		return r, err
	}
	exits, lost, err := trace.Read()
	if err != nil {
		return r, err
	}
	r.exits = lost
	for _, reasons := range exits {
		for reason, n := range reasons {
			r.exits += n
			switch reason {
			case "io", "io_instruction":
				r.io += n
			case "npf", "ept_violation", "ept_misconfig":
				r.faults += n
			}
		}
	}
	return r, nil
}

// baseline is the arm that ratios are taken against.
const baseline = "QEMU q35"

// table prints medians, and ratios to QEMU's.
func table(all []arm, results [][]result, seed uint64) {
	e := probe.Host()
	fmt.Printf("Linux from start to userspace, 1 vCPU, %d MiB, no devices, same kernel and initramfs; medians of %d rounds, seed %#x\n", memoryMiB, len(results[0]), seed)
	base := 0
	for i, a := range all {
		if a.name == baseline {
			base = i
		}
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "VMM\ts\t/ QEMU\texits\t/ QEMU\tport I/O\tpage faults\tresident beyond guest\t/ QEMU\t")
	exits := func(r result) float64 { return float64(r.exits) }
	beyond := func(r result) float64 { return float64(r.beyond) }
	for i, a := range all {
		rs := results[i]
		ratio := func(f func(result) float64) string {
			return fmt.Sprintf("%.2f", rounds.Median(rs, f)/rounds.Median(results[base], f))
		}
		fmt.Fprintf(w, "%s (%s)\t%.2f\t%s\t%.0f\t%s\t%.0f\t%.0f\t%.1f MiB\t%s\t\n", a.name, a.note, rounds.Median(rs, seconds), ratio(seconds),
			rounds.Median(rs, exits), ratio(exits), rounds.Median(rs, func(r result) float64 { return float64(r.io) }),
			rounds.Median(rs, func(r result) float64 { return float64(r.faults) }), rounds.Median(rs, beyond)/(1<<20), ratio(beyond))
	}
	w.Flush()
	if e.Emulated {
		fmt.Println("\nThe host is emulated: its seconds compare within this table only; counts are exact.")
	}
}
