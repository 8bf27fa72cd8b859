// Command compare measures doorbell beside QEMU and gokvm: the same kernel, the same initramfs, one vCPU, 512 MiB, no devices,
// in one boot of one host. It prints a table of ratios and counts.
//
// Where this host's KVM runs Linux, it measures here; elsewhere it starts the lab and runs itself there.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"doorbell/guest/kernel"
	"doorbell/images"
	"doorbell/internal/probe"
)

// setup is what the arms need, as paths on the host that measures.
type setup struct {
	doorbell, gokvm, qemu    string
	bzImage, vmlinux, initrd string
	roms                     string // QEMU's firmware folders, separated by colons
	rounds                   int
}

func main() {
	var s setup
	flag.StringVar(&s.doorbell, "doorbell", "bin/doorbell", "doorbell's binary")
	flag.StringVar(&s.gokvm, "gokvm", "bin/gokvm", "gokvm's binary")
	flag.StringVar(&s.qemu, "qemu", "qemu-system-x86_64", "QEMU's binary")
	flag.StringVar(&s.bzImage, "bzimage", "", "kernel for gokvm; default: the default guest's")
	flag.StringVar(&s.vmlinux, "vmlinux", "", "the same kernel, unpacked")
	flag.StringVar(&s.initrd, "initrd", "", "initramfs")
	flag.StringVar(&s.roms, "roms", "", "QEMU's firmware folders")
	flag.IntVar(&s.rounds, "n", 3, "rounds; each runs every VMM once, in random order")
	inLab := flag.Bool("in-lab", false, "measure here without asking whether that is possible")
	flag.Parse()
	if err := run(&s, *inLab); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

func run(s *setup, here bool) error {
	ctx := context.Background()
	if s.bzImage == "" {
		if err := s.defaults(ctx); err != nil {
			return err
		}
	}
	if here || probe.UsableKVM() == nil {
		return measure(ctx, s)
	}
	return s.inLab(ctx)
}

// defaults fills in the default guest.
func (s *setup) defaults(ctx context.Context) error {
	agent, err := filepath.Abs(filepath.Join(filepath.Dir(s.doorbell), "agent"))
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
	s.bzImage, s.initrd, s.vmlinux = set.Vmlinuz, g.Initrd, filepath.Join(set.Dir, "vmlinux")
	return kernel.Unpacked(s.bzImage, s.vmlinux)
}

// firmware are the files that QEMU needs to enter a vmlinux on a q35 machine without devices.
var firmware = []string{"bios-256k.bin", "kvmvapic.bin", "linuxboot_dma.bin", "pvh.bin"}

// firmwareFolders are where Debian keeps them.
var firmwareFolders = []string{"/usr/share/seabios", "/usr/share/qemu", "/usr/lib/ipxe/qemu"}

// inLab runs the same program in the emulated host.
func (s *setup) inLab(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	qemu, err := exec.LookPath(s.qemu)
	if err != nil {
		return fmt.Errorf("%w (Debian package qemu-system-x86)", err)
	}
	args := []string{"lab", "--guest=false", "--carry", qemu, "--carry", s.gokvm, "--carry", s.doorbell}
	const roms = "/usr/share/compare"
	for _, f := range firmware {
		for _, dir := range firmwareFolders {
			if _, err := os.Stat(filepath.Join(dir, f)); err == nil {
				args = append(args, "--file", filepath.Join(dir, f)+":"+filepath.Join(roms, f))
				break
			}
		}
	}
	args = append(args, "--", self, "-in-lab", "-n", fmt.Sprint(s.rounds), "-doorbell", "doorbell", "-gokvm", s.gokvm, "-qemu", qemu,
		"-roms", roms, "-bzimage", s.bzImage, "-vmlinux", s.vmlinux, "-initrd", s.initrd)
	c := exec.CommandContext(ctx, s.doorbell, args...)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	return c.Run()
}
