package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"doorbell/images"
	"doorbell/internal/report"
	"doorbell/vmm"

	"github.com/spf13/cobra"
)

// again is the command line that does the same in the lab, but for where the reports go. Paths stay as they were given: the lab
// has the same files at the same places.
func (g *guestFlags) again(name string, args, reports []string) []string {
	c := append([]string{"doorbell", name}, args...)
	c = append(c, "--host", hostHere, "-m", g.memory, "-c", strconv.Itoa(g.vcpus), "--irqchip", g.irqchip, "--net", g.net)
	for _, f := range []struct{ flag, value string }{{"-k", g.kernel}, {"-i", g.initrd}} {
		if f.value != "" {
			c = append(c, f.flag, f.value)
		}
	}
	if g.cmdlineGiven {
		c = append(c, "-p", g.cmdline)
	}
	for _, r := range reports {
		c = append(c, "--report", r)
	}
	for _, f := range []struct {
		flag string
		set  bool
	}{{"--testdev", g.testdev}, {"--vectors", g.vectors}} {
		if f.set {
			c = append(c, f.flag)
		}
	}
	if g.machine.IRQProbe {
		c = append(c, "--device", vmm.IRQProbe)
	}
	if g.verbose {
		c = append(c, "-v")
	}
	return c
}

// needsDefault says whether the default guest supplies something.
func (g *guestFlags) needsDefault() bool {
	return g.release == nil && !g.bare && (g.kernel == "" || g.initrd == "")
}

// runInLab has the same command run in the lab, which writes the reports; files come back. What is no regular file here (a pipe,
// a device) gets its report from a file of our own.
func (g *guestFlags) runInLab(cmd *cobra.Command, targets []*report.Target, r guestRun) error {
	dir, err := os.MkdirTemp("", "doorbell-report-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var specs []string
	from := map[*report.Target]string{}
	for i, t := range targets {
		switch {
		case t.Direct():
			from[t] = filepath.Join(dir, strconv.Itoa(i))
			specs = append(specs, fmt.Sprintf("%s=%s", t.Format, from[t]))
		case t.Path != "":
			specs = append(specs, fmt.Sprintf("%s=%s", t.Format, t.Path))
			t.Discard() // it was only tried
		case !t.Stderr: // what boot prints without being asked needs no flag
			specs = append(specs, string(t.Format))
		}
	}
	request := labRequest{bochs: g.host == hostBochs, command: append(g.again(cmd.Name(), r.args, specs), r.flags...), guest: !r.bare && g.needsDefault(), verbose: g.verbose}
	request.optional = r.guests
	if g.release != nil {
		request.releases = []images.Release{*g.release}
	}
	err = inLab(cmd.Context(), request)
	for t, path := range from {
		if _, missing := os.Stat(path); missing != nil {
			continue // the run failed before it could report, and has said why
		}
		if cerr := t.Copy(path); cerr != nil {
			return &exitError{statusFailed, cerr.Error()}
		}
	}
	return err
}
