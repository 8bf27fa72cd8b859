package bochs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Host is the PC that Bochs is.
type Host struct {
	CPUs     int
	Memory   int64  // bytes
	Disc     string // what it starts from
	Console  string // the file that its first serial port writes
	Terminal string // the terminal that its second serial port is, both ways
}

// configuration is Bochs's. What is not obvious:
//
//   - corei7_skylake_x is the model that has everything that posting needs and boots Linux.
//   - cpuid_freq=ips: without it Linux takes the APIC timer to be of another frequency than it is, and drowns in its interrupts.
//   - panic: action=fatal: a power-off ends Bochs.
//   - rfb, a server for a remote screen, is the only display without a window; Start hides its port.
func (r Root) configuration(h Host) string {
	const megabyte = 1 << 20
	return strings.Join([]string{
		`display_library: rfb, options="timeout=0"`,
		"config_interface: textconfig",
		fmt.Sprintf("memory: guest=%d, host=%d", h.Memory/megabyte, h.Memory/megabyte),
		"romimage: file=" + r.path("usr/share/bochs/BIOS-bochs-latest"),
		"vgaromimage: file=" + r.path(vgaBIOS),
		fmt.Sprintf("cpu: model=corei7_skylake_x, count=%d:1:1, ips=200000000, reset_on_triple_fault=0, ignore_bad_msrs=1, cpuid_freq=ips", h.CPUs),
		"ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14",
		"ata0-master: type=cdrom, path=" + h.Disc + ", status=inserted",
		"boot: cdrom",
		"com1: enabled=1, mode=file, dev=" + h.Console,
		"com2: enabled=1, mode=term, dev=" + h.Terminal,
		"panic: action=fatal",
		"error: action=ignore",
		"info: action=ignore",
		"debug: action=ignore",
		"clock: sync=none",
		"pci: enabled=1, chipset=i440fx",
	}, "\n") + "\n"
}

// KernelArguments are what the host's kernel needs beside the lab's own: the HPET of Bochs is not steady.
const KernelArguments = "console=ttyS0,115200 hpet=disable"

// Command is the emulator, not started; dir is a folder of the caller's alone.
func (r Root) Command(dir string, h Host) (*exec.Cmd, error) {
	repair, err := r.Repair()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "bochsrc")
	if err := os.WriteFile(path, []byte(r.configuration(h)), 0o600); err != nil {
		return nil, err
	}
	cmd := r.command(repair, "bochs-bin", "-q", "-f", path)
	cmd.Dir = dir
	return cmd, nil
}
