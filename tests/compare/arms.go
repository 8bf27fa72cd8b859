package main

import "path/filepath"

// The machine that every arm gets.
const (
	memoryMiB = 512
	cmdline   = "console=ttyS0 quiet panic=-1"
)

// arm is one VMM's command line. All run the same kernel; doorbell and QEMU get it unpacked, so that neither guest unpacks it.
type arm struct {
	name string
	note string
	argv []string
}

func arms(s *setup) []arm {
	qemu := []string{s.qemu, "-machine", "q35", "-accel", "kvm", "-cpu", "host", "-smp", "1", "-m", "512", "-nodefaults", "-nographic",
		"-serial", "stdio", "-no-reboot", "-kernel", s.vmlinux, "-initrd", s.initrd, "-append", cmdline}
	if s.roms != "" {
		for _, dir := range filepath.SplitList(s.roms) {
			qemu = append(qemu, "-L", dir)
		}
	}
	doorbell := func(kernel string) []string {
		return []string{s.doorbell, "boot", "--host", "here", "--report", "none", "--net", "none", "-c", "1", "-m", "512M", "-k", kernel, "-i", s.initrd, "-p", cmdline}
	}
	return []arm{
		{"doorbell", "vmlinux", doorbell(s.vmlinux)},
		{"doorbell bzImage", "unpacked on the host", doorbell(s.bzImage)},
		{"QEMU q35", "vmlinux by PVH", qemu},
		// gokvm has no ACPI and no working IOAPIC: these words are from its own example.
		{"gokvm", "bzImage", []string{s.gokvm, "boot", "-c", "1", "-m", "512M", "-k", s.bzImage, "-i", s.initrd,
			"-p", cmdline + " noapic noacpi notsc nowatchdog lapic tsc_early_khz=2000 rdinit=/init"}},
	}
}
