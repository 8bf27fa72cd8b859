package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"doorbell/images"
	"doorbell/internal/measure"
	"doorbell/internal/report"
	"doorbell/vmm"

	"github.com/spf13/cobra"
)

func bootCommand() *cobra.Command {
	g := &guestFlags{}
	cmd := &cobra.Command{
		Use:   "boot",
		Short: "Boot Linux, then show its interrupts and exits",
		Long: `boot runs a Linux guest until it powers off. The guest's console is standard output and standard input; when the guest
has ended, a report on standard error says where its interrupts came from and what its VM exits were.

On a terminal, Ctrl-C stops the guest and still prints the report; Ctrl-A Ctrl-C sends a Ctrl-C to the guest.

A Multiboot image boots bare: -i is its module, and -p are its arguments. With --testdev it finds what test kernels for hypervisors expect: a port
0xf4 that ends the run with status (value << 1) | 1, ports 0xe0 to 0xe7 that read back what was written, ports 0x2000 + n that drive GSI n, memory at
0xff000000, fw_cfg, and a PCI test function.

Exit status: 0 the guest powered off (or reset) by itself; 1 doorbell failed; 2 bad usage; 3 the guest crashed or was killed; with --testdev what
the guest chose, which is odd: 1 and 3 mean as well that the guest wrote 0 and 1, and the last line says which.`,
		Example: `  doorbell boot -c 2 -m 512M
  doorbell boot -k bzImage -i initrd.img -p "console=ttyS0 panic=-1" --report json=r.json
  doorbell boot -k test.flat -c 2 --testdev -p "args"
  echo hello | doorbell boot -k bzImage -i initrd.img > console.txt`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			targets, err := g.targets("")
			if err != nil {
				return err
			}
			return runGuest(cmd, g, targets, guestRun{measure: measure.Run, console: true})
		},
	}
	g.add(cmd.Flags())
	cmd.Flags().BoolVar(&g.vectors, "vectors", false, "count each vector in KVM's local APICs too, by tracepoints; costs each interrupt a little time")
	cmd.Flags().BoolVar(&g.testdev, "testdev", false, "add the devices that test kernels for hypervisors expect")
	return cmd
}

func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError("%s: unexpected argument %q: try %s --help", cmd.CommandPath(), args[0], cmd.CommandPath())
	}
	return nil
}

// targets are where the reports go; without --report, the default.
func (g *guestFlags) targets(fallback string) ([]*report.Target, error) {
	specs := g.reports
	if len(specs) == 0 {
		if fallback == "" {
			return []*report.Target{{Format: report.Text, Path: "", Stderr: true}}, nil
		}
		specs = []string{fallback}
	}
	var all []*report.Target
	for _, s := range specs {
		ts, err := report.ParseTargets(s)
		if err != nil {
			return nil, usageError("%v", err)
		}
		all = append(all, ts...)
	}
	return all, nil
}

// measureFunc runs machines and reports them.
type measureFunc func(context.Context, vmm.Config) (*report.Document, *vmm.Result, error)

// guestRun is how boot and measure differ.
type guestRun struct {
	measure measureFunc
	console bool             // connect the console to standard input and output
	args    []string         // the experiments' names, for the lab's command line
	flags   []string         // what else is for it
	guests  []images.Release // what it boots besides the guest of the flags
	bare    bool             // it makes its own guests: there is no result
}

// runGuest runs one machine, here or in the lab, and writes its reports.
func runGuest(cmd *cobra.Command, g *guestFlags, targets []*report.Target, r guestRun) error {
	g.cmdlineGiven = cmd.Flags().Changed("cmdline")
	if err := g.check(); err != nil {
		return err
	}
	for _, t := range targets {
		if err := t.Open(); err != nil {
			return &exitError{statusFailed, err.Error()}
		}
		defer t.Discard()
	}
	if !runsHere(g.host) {
		if len(g.machine.VFIO) > 0 {
			return &exitError{statusFailed, "--device: the emulated host has none of this machine's devices: doorbell lab --device MODEL -- doorbell boot --device vfio=auto"}
		}
		if card := g.machine.Net; card.Tap != "" || len(card.Forwards) > 0 {
			say("--net %s: its interface and ports are the emulated host's, not this machine's", g.net)
		}
		return g.runInLab(cmd, targets, r)
	}
	ctx, cancel := stopOnSignal(cmd.Context())
	defer cancel(nil)
	nmi, release := nmiButton()
	defer release()
	// A reader of the console that goes away must not take the guest and its report with it: writes fail instead.
	signal.Ignore(syscall.SIGPIPE)
	cfg := vmm.Config{Warn: say}
	if !r.bare {
		var err error
		if cfg, err = g.config(ctx); err != nil {
			return err
		}
	}
	cfg.NMI = nmi
	restore := func() {}
	if r.console {
		console, err := openConsole(cancel)
		if err != nil {
			return err
		}
		defer console.restore()
		restore = console.restore
		cfg.Input, cfg.Output = console, os.Stdout
	}
	doc, res, err := r.measure(ctx, cfg)
	restore() // before anything is printed to the terminal
	if err != nil {
		return err
	}
	if res != nil {
		say("the guest ended: %s", res.Reason)
	}
	for _, t := range targets {
		stream := os.Stdout
		if t.Stderr {
			stream = os.Stderr
		}
		if err := t.Write(doc, stream); err != nil {
			return &exitError{statusFailed, err.Error()}
		}
	}
	if why := context.Cause(ctx); why != nil && !r.console {
		return &exitError{statusCrashed, fmt.Sprintf("stopped by a signal (%v): the report has what was measured before", why)}
	}
	if res == nil {
		return nil
	}
	switch res.End {
	case vmm.PoweredOff, vmm.Reset:
		return nil
	case vmm.Exited:
		return &exitError{status: res.Status & 0xff}
	}
	return &exitError{status: statusCrashed}
}

// stopOnSignal ends the context at SIGINT or SIGTERM, with the signal as its cause.
func stopOnSignal(parent context.Context) (context.Context, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(parent)
	c := make(chan os.Signal, 1)
	signal.Notify(c, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		select {
		case s := <-c:
			cancel(fmt.Errorf("%v", s))
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}
