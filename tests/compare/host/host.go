// Package host has what a comparison needs on the host that measures.
package host

import "path/filepath"

// Setup are paths.
type Setup struct {
	Doorbell, Gokvm, QEMU    string
	BzImage, Vmlinux, Initrd string
	ROMs                     string // QEMU's firmware folders, separated by colons; empty for its own
}

// QEMUCommand is QEMU's command line for a q35 machine that has a serial port and nothing else, and enters the unpacked kernel by PVH.
func (s *Setup) QEMUCommand(vcpus, mib, cmdline string) []string {
	return append(s.QEMUBare(vcpus, mib, cmdline, s.Vmlinux), "-initrd", s.Initrd)
}

// QEMUBare is the same for another kernel, such as a Multiboot image, without an initramfs.
func (s *Setup) QEMUBare(vcpus, mib, cmdline, kernel string) []string {
	argv := []string{s.QEMU, "-machine", "q35", "-accel", "kvm", "-cpu", "host", "-smp", vcpus, "-m", mib, "-nodefaults", "-nographic",
		"-serial", "stdio", "-no-reboot", "-kernel", kernel, "-append", cmdline}
	for _, dir := range filepath.SplitList(s.ROMs) {
		argv = append(argv, "-L", dir)
	}
	return argv
}

// DoorbellCommand is the same for doorbell, which may be given another kernel.
func (s *Setup) DoorbellCommand(vcpus, mib, cmdline, kernel string) []string {
	return []string{s.Doorbell, "boot", "--host", "here", "-c", vcpus, "-m", mib + "M", "-k", kernel, "-i", s.Initrd, "-p", cmdline}
}
