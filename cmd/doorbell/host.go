package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"doorbell/guest/kernel"
	"doorbell/images"
	"doorbell/internal/lab"
	"doorbell/internal/lab/bochs"
	"doorbell/internal/probe"

	"golang.org/x/term"
)

// The places where a machine can run.
const (
	hostAuto = "auto" // here if this host's KVM runs Linux, otherwise in the lab
	hostHere = "here"
	hostTCG  = "tcg" // the lab: QEMU's emulated AMD host
	// hostBochs is the lab's emulated Intel host with posted interrupts, which is slow.
	hostBochs = "bochs"
)

// runsHere decides where a machine runs, and says so when it is not here.
func runsHere(host string) bool {
	switch host {
	case hostHere:
		return true
	case hostTCG, hostBochs:
		return false
	}
	err := probe.UsableKVM()
	if err != nil {
		say("%v; running in the lab", err)
	}
	return err == nil
}

// labModules are what the emulated host loads beside the lab's own channel.
var labModules = []string{"virtio_pci", "virtio_console", "irqbypass", "kvm", "kvm-amd", "tun"}

// bochsModules are the same for the host that Bochs emulates, whose channel is a serial port.
var bochsModules = []string{"irqbypass", "kvm", "kvm-intel", "tun"}

// passModules are what it loads to pass devices through, and peerModules what cards that it keeps need.
var (
	passModules = []string{"vfio", "vfio_virqfd", "vfio_iommu_type1", "vfio_pci_core", "vfio_pci"}
	peerModules = []string{"virtio_net", "bridge"}
)

// guestDir is where the default guest lies in the emulated host, and the guests of other releases in folders of their names.
const guestDir = "/var/lib/doorbell/guest"

// ownEnvironment are the variables that the emulated host sets for itself: they name places of this one.
var ownEnvironment = []string{"PATH", "HOME", "PWD", "OLDPWD", "TMPDIR", "XDG_CACHE_HOME", images.EnvGuest, images.EnvAgent}

// labRequest is a command for the emulated host.
type labRequest struct {
	bochs    bool
	command  []string
	binaries []string
	files    []lab.File
	memory   int64
	cpus     int
	retries  int
	verbose  bool
	guest    bool             // carry the default guest along
	releases []images.Release // carry these guests along
	optional []images.Release // and these, or why there are none
	devices  []lab.Device
}

// inLab runs a command in the emulated host and returns its exit status as an error.
func inLab(ctx context.Context, r labRequest) error {
	set, err := images.Kernel(ctx, os.Stderr)
	if err != nil {
		return err
	}
	wanted := labModules
	switch {
	case r.bochs:
		wanted = bochsModules
	case len(r.devices) > 0:
		wanted = slices.Concat(labModules, peerModules, passModules)
	}
	mods, err := set.Modules(wanted...)
	if err != nil {
		return err
	}
	cfg := lab.Config{
		Kernel: filepath.Join(set.Dir, "vmlinux"), Command: r.command, Binaries: r.binaries, Files: r.files, Memory: r.memory, CPUs: r.cpus, Retries: max(r.retries, 0),
		Devices: r.devices,
		Stdin:   os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Progress: os.Stderr,
		TTY: term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stdout.Fd())),
	}
	if r.bochs {
		cfg.Kernel = set.Vmlinuz // GRUB wants what unpacks itself
		cfg.Bochs, err = images.Root(ctx, bochs.Recipe, os.Stderr)
	} else {
		err = kernel.Unpacked(set.Vmlinuz, cfg.Kernel)
	}
	if err != nil {
		return err
	}
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); !slices.Contains(ownEnvironment, name) {
			cfg.Env = append(cfg.Env, e)
		}
	}
	for _, m := range mods {
		cfg.Modules = append(cfg.Modules, lab.Module{Name: m.Name, Path: m.Path})
	}
	carry := func(g images.Guest, dir string) {
		cfg.Files = append(cfg.Files, lab.File{Host: g.Kernel, Guest: dir + "/kernel"}, lab.File{Host: g.Initrd, Guest: dir + "/initrd"})
	}
	if r.guest {
		g, err := images.DefaultGuest(ctx, os.Stderr)
		if err != nil {
			return err
		}
		carry(g, guestDir)
	}
	for _, release := range r.releases {
		g, err := images.GuestOf(ctx, release, os.Stderr)
		if err != nil {
			return fmt.Errorf("debian:%s: %w", release, err)
		}
		carry(g, guestDir+"/"+release.String())
	}
	for _, release := range r.optional {
		g, err := images.GuestOf(ctx, release, os.Stderr)
		dir := guestDir + "/" + release.String()
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			reason, cleanup, ferr := writeReason(err)
			if ferr != nil {
				return ferr
			}
			defer cleanup()
			cfg.Files = append(cfg.Files, lab.File{Host: reason, Guest: dir + "/" + images.MissingFile})
		default:
			carry(g, dir)
		}
	}
	if r.guest || len(r.releases)+len(r.optional) > 0 {
		cfg.Env = append(cfg.Env, images.EnvGuest+"="+guestDir)
	}
	if r.verbose {
		cfg.Console = os.Stderr
	}
	res, err := lab.Run(ctx, cfg)
	if err != nil {
		return &exitError{max(res.ExitStatus, statusFailed), err.Error()}
	}
	if res.ExitStatus != 0 {
		return &exitError{status: res.ExitStatus}
	}
	return nil
}

// writeReason puts why a guest could not be made into a file, for the emulated host to say.
func writeReason(err error) (path string, cleanup func(), _ error) {
	f, ferr := os.CreateTemp("", "doorbell-missing-")
	if ferr != nil {
		return "", nil, ferr
	}
	cleanup = func() { os.Remove(f.Name()) }
	_, ferr = f.WriteString(err.Error())
	if ferr = errors.Join(ferr, f.Close()); ferr != nil {
		cleanup()
		return "", nil, ferr
	}
	return f.Name(), cleanup, nil
}

// pathReason is an error of the file system without the path, which the message names anyway.
func pathReason(err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
