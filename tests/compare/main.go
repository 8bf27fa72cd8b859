// Command compare measures doorbell beside other VMMs, in one boot of one host: what a boot costs, beside QEMU and gokvm, and what an
// exit, the interrupt controllers and the network cost, beside QEMU. It prints tables of ratios and counts, and fails with one line if doorbell did not keep a promise.
//
// Where this host's KVM runs Linux, it measures here; elsewhere it starts the lab and runs itself there.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"doorbell/guest/kernel"
	"doorbell/images"
	"doorbell/internal/probe"
	"doorbell/tests/compare/boot"
	"doorbell/tests/compare/host"
	"doorbell/tests/compare/network"
	"doorbell/tests/compare/rounds"
)

// options are the command line.
type options struct {
	host.Setup
	rounds int
	only   string
	inLoop string
	net    network.Sizes
	inLab  bool
}

func main() {
	var o options
	f := flag.CommandLine
	f.StringVar(&o.Doorbell, "doorbell", "bin/doorbell", "doorbell's binary")
	f.StringVar(&o.Gokvm, "gokvm", "bin/gokvm", "gokvm's binary")
	f.StringVar(&o.QEMU, "qemu", "qemu-system-x86_64", "QEMU's binary")
	f.StringVar(&o.BzImage, "bzimage", "", "kernel for gokvm; default: the default guest's")
	f.StringVar(&o.Vmlinux, "vmlinux", "", "the same kernel, unpacked")
	f.StringVar(&o.Initrd, "initrd", "", "initramfs")
	f.StringVar(&o.ROMs, "roms", "", "QEMU's firmware folders")
	f.IntVar(&o.rounds, "n", 3, "rounds; each runs every VMM once, in random order")
	f.StringVar(&o.only, "only", "", "boot, exits, controllers or network; empty for all")
	f.StringVar(&o.inLoop, "inloop", "bin/bare/inloop.flat", "the bare guest that reads a port")
	f.BoolVar(&o.inLab, "in-lab", false, "measure here without asking whether that is possible")
	o.net.Flags(f)
	f.Parse(os.Args[1:])
	err := o.run(context.Background())
	var inLab *exec.ExitError
	if errors.As(err, &inLab) {
		os.Exit(inLab.ExitCode()) // it has said why
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

func (o *options) run(ctx context.Context) error {
	if o.only != "" && !slices.Contains(measurements, o.only) {
		return fmt.Errorf("-only %s: there is %s", o.only, strings.Join(measurements, ", "))
	}
	if o.BzImage == "" {
		if err := o.defaults(ctx); err != nil {
			return err
		}
	}
	if !o.inLab && probe.UsableKVM() != nil {
		return o.runInLab(ctx)
	}
	e := probe.Host()
	fmt.Printf("host: %s, Linux %s, emulated: %v\n\n", e.Backend, e.Kernel, e.Emulated)
	var errs []error
	for _, m := range measurements {
		if o.only != "" && o.only != m {
			continue
		}
		switch r := rounds.New(o.rounds); m {
		case "boot":
			errs = append(errs, boot.Measure(ctx, &o.Setup, r))
		case "exits":
			errs = append(errs, boot.MeasureExits(ctx, &o.Setup, o.inLoop, r))
		case "controllers":
			errs = append(errs, boot.MeasureControllers(ctx, &o.Setup, r))
		case "network":
			errs = append(errs, network.Measure(ctx, &o.Setup, r, o.net))
		}
	}
	return errors.Join(errs...)
}

// measurements are what there is, in the order in which they are made.
var measurements = []string{"boot", "exits", "controllers", "network"}

// defaults fills in the default guest.
func (o *options) defaults(ctx context.Context) error {
	agent, err := filepath.Abs(filepath.Join(filepath.Dir(o.Doorbell), "agent"))
	if err != nil {
		return err
	}
	os.Setenv(images.EnvAgent, agent)
	g, err := images.DefaultGuest(ctx, os.Stderr)
	if err != nil {
		return err
	}
	set, err := images.Kernel(ctx, os.Stderr)
	if err != nil {
		return err
	}
	o.BzImage, o.Initrd, o.Vmlinux = set.Vmlinuz, g.Initrd, filepath.Join(set.Dir, "vmlinux")
	return kernel.Unpacked(o.BzImage, o.Vmlinux)
}

// firmware are the files that QEMU needs to enter a vmlinux or a Multiboot image on a q35 machine.
var firmware = []string{"bios-256k.bin", "kvmvapic.bin", "linuxboot_dma.bin", "multiboot_dma.bin", "pvh.bin"}

// firmwareFolders are where Debian keeps them.
var firmwareFolders = []string{"/usr/share/seabios", "/usr/share/qemu", "/usr/lib/ipxe/qemu"}

// runInLab runs the same program in the emulated host.
func (o *options) runInLab(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	qemu, err := exec.LookPath(o.QEMU)
	if err != nil {
		return fmt.Errorf("%w (Debian package qemu-system-x86)", err)
	}
	// A host that dies under the measurement is the emulation's fault: it starts again.
	args := []string{"lab", "--retry", "2", "--guest=false", "--carry", qemu, "--carry", o.Gokvm, "--carry", o.Doorbell}
	const roms, inLoop = "/usr/share/compare", "/usr/share/compare/inloop.flat"
	args = append(args, "--file", o.inLoop+":"+inLoop)
	for _, f := range firmware {
		for _, dir := range firmwareFolders {
			if _, err := os.Stat(filepath.Join(dir, f)); err == nil {
				args = append(args, "--file", filepath.Join(dir, f)+":"+filepath.Join(roms, f))
				break
			}
		}
	}
	args = append(args, "--", self, "-in-lab", "-n", fmt.Sprint(o.rounds), "-only", o.only, "-doorbell", "doorbell", "-gokvm", o.Gokvm, "-qemu", qemu,
		"-roms", roms, "-inloop", inLoop, "-bzimage", o.BzImage, "-vmlinux", o.Vmlinux, "-initrd", o.Initrd)
	flag.Visit(func(f *flag.Flag) {
		if strings.HasPrefix(f.Name, network.FlagPrefix) {
			args = append(args, "-"+f.Name+"="+f.Value.String())
		}
	})
	c := exec.CommandContext(ctx, o.Doorbell, args...)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	return c.Run()
}
