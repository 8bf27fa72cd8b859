package boot

import "doorbell/tests/compare/host"

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

func arms(s *host.Setup) []arm {
	doorbell := func(kernel string) []string {
		return append(s.DoorbellCommand("1", "512", cmdline, kernel), "--report", "none", "--net", "none")
	}
	return []arm{
		{"doorbell", "vmlinux", doorbell(s.Vmlinux)},
		{"doorbell bzImage", "unpacked on the host", doorbell(s.BzImage)},
		{"QEMU q35", "vmlinux by PVH", s.QEMUCommand("1", "512", cmdline)},
		// gokvm has no ACPI and no working IOAPIC: these words are from its own example.
		{"gokvm", "bzImage", []string{s.Gokvm, "boot", "-c", "1", "-m", "512M", "-k", s.BzImage, "-i", s.Initrd,
			"-p", cmdline + " noapic noacpi notsc nowatchdog lapic tsc_early_khz=2000 rdinit=/init"}},
	}
}
