package boot

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"doorbell/internal/kvm"
	"doorbell/internal/kvmtrace"
	"doorbell/internal/probe"
	"doorbell/tests/compare/host"
	"doorbell/tests/compare/rounds"
)

// reads is how many port reads one run makes; the first and the last are as far apart as the guest's two lines.
const reads = 50000

// ports are what a guest reads, as it is written in a command line.
var ports = []struct{ number, what string }{
	{"0x80", "nothing to read"},
	{"0x3ff", "the UART's scratch register"},
}

// exitArm is a VMM with a bare guest that does nothing but read a port.
type exitArm struct {
	vmm  string
	port int // into ports
	argv []string
}

// exitArms are, for each port, doorbell and QEMU. Both have a serial port and a way to end; neither has anything else.
func exitArms(s *host.Setup, flat string) (all []exitArm) {
	for i, p := range ports {
		args := strconv.Itoa(reads) + " " + p.number
		all = append(all,
			exitArm{"doorbell", i, []string{s.Doorbell, "boot", "--host", "here", "-c", "1", "-m", "64M", "-k", flat, "-p", args, "--testdev", "--net", "none", "--report", "none"}},
			exitArm{"QEMU", i, append(s.QEMUBare("1", "64", args, flat), "-device", "isa-debug-exit,iobase=0xf4,iosize=4")})
	}
	return all
}

// loop is one run: how long the reads took and what they cost.
type loop struct {
	seconds, exits float64
	port           float64 // exits of these for port I/O
}

// MeasureExits has a bare guest read a port in a tight loop under doorbell and QEMU, and prints what a read took. An error also says that
// doorbell took longer than QEMU.
func MeasureExits(ctx context.Context, s *host.Setup, flat string, r rounds.Rounds) error {
	all := exitArms(s, flat)
	results := make([][]loop, len(all))
	err := r.Run(len(all), func(round, i int) error {
		fmt.Fprintf(os.Stderr, "compare: exits, round %d of %d: %s, port %s\n", round+1, r.Count, all[i].vmm, ports[all[i].port].number)
		one, err := runLoop(ctx, all[i].argv)
		if err != nil {
			return fmt.Errorf("%s: %w", all[i].vmm, err)
		}
		results[i] = append(results[i], one)
		return nil
	})
	if err != nil {
		return err
	}
	took := func(l loop) float64 { return l.seconds }
	fmt.Printf("A read from a port that the VMM answers, %d in a tight loop of a bare guest, 1 vCPU; medians of %d rounds, seed %#x\n", reads, r.Count, r.Seed)
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "VMM\tport\tus per read\t/ QEMU\texits per read\tof them port I/O\t")
	var worst error
	for i, a := range all {
		ratio := rounds.Median(results[i], took) / rounds.Median(results[i|1], took) // QEMU's arm is the odd one
		fmt.Fprintf(w, "%s\t%s, %s\t%.1f\t%.2f\t%.3f\t%.3f\t\n", a.vmm, ports[a.port].number, ports[a.port].what, rounds.Median(results[i], took)/reads*1e6, ratio,
			rounds.Median(results[i], func(l loop) float64 { return l.exits })/reads, rounds.Median(results[i], func(l loop) float64 { return l.port })/reads)
		if ratio > 1 {
			worst = fmt.Errorf("a read from port %s took doorbell %.2f of QEMU's time, more than 1.0", ports[a.port].number, ratio)
		}
	}
	w.Flush()
	if probe.Host().Emulated {
		fmt.Println("\nThe host is emulated: its times compare within this table only; counts are exact.")
	}
	return worst
}

// runLoop runs a VMM and looks at the clock and at the exits when its guest says that it begins and ends.
func runLoop(ctx context.Context, argv []string) (l loop, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	trace, err := kvmtrace.Start(kvm.HostVendor(), nil)
	if err != nil {
		return l, err
	}
	defer trace.Close()
	c := exec.CommandContext(ctx, argv[0], argv[1:]...)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		return l, err
	}
	if err := c.Start(); err != nil {
		return l, err
	}
	defer func() {
		c.Process.Kill()
		c.Wait()
	}()
	lines := bufio.NewReader(out)
	var at [2]time.Time
	var exits, port [2]uint64
	for i, word := range []string{"begin", "end"} {
		if err := expect(lines, word); err != nil {
			return l, err
		}
		at[i] = time.Now()
		if exits[i], port[i], err = exitsSoFar(trace); err != nil {
			return l, err
		}
	}
	return loop{at[1].Sub(at[0]).Seconds(), float64(exits[1] - exits[0]), float64(port[1] - port[0])}, nil
}

// expect reads lines up to one with the word in it.
func expect(lines *bufio.Reader, word string) error {
	for {
		l, err := lines.ReadString('\n')
		if strings.Contains(l, word) {
			return nil
		}
		if err == io.EOF {
			return fmt.Errorf("ended before its guest said %q", word)
		}
		if err != nil {
			return err
		}
	}
}

// exitsSoFar sums the histogram, and its rows for port I/O.
func exitsSoFar(trace *kvmtrace.Counter) (all, port uint64, err error) {
	exits, lost, err := trace.Read()
	all = lost
	for _, reasons := range exits {
		for reason, n := range reasons {
			all += n
			if reason == "io" || reason == "io_instruction" {
				port += n
			}
		}
	}
	return all, port, err
}
