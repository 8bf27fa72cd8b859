package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"doorbell/internal/lab/bochs"
	"doorbell/internal/lab/l1"
)

// ErrNoQEMU is the cause when QEMU is not installed.
var ErrNoQEMU = errors.New("QEMU is not installed (Debian: apt-get install qemu-system-x86)")

const qemuName = "qemu-system-x86_64"

// minQEMU is the oldest major version whose emulation of SVM with nested
// paging boots Linux under KVM.
const minQEMU = 7

// qemu is an installed QEMU.
type qemu struct {
	path         string
	major, minor int
	found        tscSample // when it was
}

func (q qemu) String() string { return fmt.Sprintf("QEMU %d.%d", q.major, q.minor) }

// findQEMU finds QEMU in PATH, or at path when that is not empty, and asks
// for its version.
func findQEMU(ctx context.Context, path string) (qemu, error) {
	if path == "" {
		path = qemuName
	}
	found, err := exec.LookPath(path)
	if err != nil {
		return qemu{}, fmt.Errorf("lab: %s: %w", path, ErrNoQEMU)
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, found, "-version").Output()
	if err != nil {
		return qemu{}, fmt.Errorf("lab: %s -version: %w", found, err)
	}
	q, err := parseVersion(string(out))
	if err != nil {
		return qemu{}, fmt.Errorf("lab: %s -version: %w", found, err)
	}
	q.path, q.found = found, sampleTSC()
	if q.major < minQEMU {
		return qemu{}, fmt.Errorf("lab: %s: is %v, at least version %d is needed", found, q, minQEMU)
	}
	return q, nil
}

var versionLine = regexp.MustCompile(`(?m)^QEMU emulator version (\d{1,4})\.(\d{1,4})`)

func parseVersion(out string) (qemu, error) {
	m := versionLine.FindStringSubmatch(out)
	if m == nil {
		line, _, _ := strings.Cut(out, "\n")
		return qemu{}, fmt.Errorf("does not say its version: %.80q", line)
	}
	var q qemu
	q.major, _ = strconv.Atoi(m[1]) // digits, by the expression
	q.minor, _ = strconv.Atoi(m[2])
	return q, nil
}

// The descriptors that QEMU finds open.
const (
	initrdFD    = 3
	channelFD   = 4
	firstDiskFD = 5
)

// arguments is QEMU's command line.
func (q qemu) arguments(cfg Config) []string {
	// EPYC is the newest processor type whose every feature that KVM relies
	// on TCG can emulate; svm and npt are what the lab is for.
	cpu, cpus := "EPYC,+svm,+npt", cfg.CPUs
	tscKHz := uint64(0)
	if cfg.emulated() {
		tscKHz = q.found.khz()
	}
	if cfg.spareFirst() {
		cpus++
	}
	if !cfg.emulated() {
		cpu = "host"
	} else if q.major >= 9 {
		// Emulated since QEMU 9.0: the timer and IPIs become MSRs.
		cpu += ",+x2apic"
	}
	machine := "q35,smm=off,sata=off,smbus=off,hpet=off"
	if cfg.passes() {
		// intel-iommu cannot remap what an interrupt controller in the kernel delivers.
		machine += ",kernel-irqchip=off"
	}
	return append([]string{
		"-name", "lab", "-no-user-config", "-nodefaults", "-no-reboot",
		// System management mode, the disk and SMBus controllers and the HPET
		// cost firmware and kernel time, and nothing in L1 uses them.
		"-machine", machine,
		"-accel", cfg.Accel,
		"-cpu", cpu,
		"-smp", strconv.Itoa(cpus),
		"-m", fmt.Sprintf("%dM", cfg.Memory>>20),
		"-display", "none", "-monitor", "none", "-serial", "stdio",
		"-kernel", cfg.Kernel,
		"-initrd", fmt.Sprintf("/proc/self/fd/%d", initrdFD),
		"-append", kernelCommandLine(cfg, tscKHz),
		"-device", "virtio-serial-pci,id=ports,max_ports=2,romfile=",
		"-chardev", fmt.Sprintf("socket,id=lab,fd=%d", channelFD),
		"-device", "virtserialport,bus=ports.0,chardev=lab,name=" + l1.PortName,
	}, cfg.deviceArguments()...)
}

// kernelCommandLine is L1's. panic=-1 restarts at once, which -no-reboot turns
// into QEMU's end. The emulated TSC is the host's own and always in step, of
// tscKHz, which is 0 if that is not known. Without tsc=reliable Linux would distrust
// it, since the emulated processor does not promise that, and pay a device read for
// every clock reading. Without tsc_early_khz it would measure it by the emulated PIT, which
// it cannot on a machine that has other work: it then marks the TSC unstable, and KVM's
// guests take no interrupts.
func kernelCommandLine(cfg Config, tscKHz uint64) string {
	line := "console=ttyS0 panic=-1 tsc=reliable no_timer_check " + l1.FirstCPUOnly
	if tscKHz > 0 {
		line += fmt.Sprintf(" tsc_early_khz=%d", tscKHz)
	}
	if cfg.Bochs != "" {
		// Bochs would start again after a restart.
		line = "panic=0 " + bochs.KernelArguments
	}
	line += " mitigations=off audit=0 nokaslr random.trust_cpu=on cryptomgr.notests"
	if cfg.passes() {
		line += " intel_iommu=on iommu=nopt"
	}
	if cfg.Console == nil {
		line += " quiet"
	}
	return line
}

// start implements emulator.
func (q qemu) start(cfg Config, initramfs *os.File) (*machine, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("lab: socketpair: %w", err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "lab-channel")
	defer theirs.Close()
	ours := os.NewFile(uintptr(pair[0]), "lab-channel")
	channel, err := net.FileConn(ours)
	ours.Close()
	if err != nil {
		return nil, fmt.Errorf("lab: channel: %w", err)
	}
	disks, err := cfg.disks()
	for _, d := range disks {
		defer d.Close()
	}
	if err != nil {
		channel.Close()
		return nil, err
	}
	cmd := exec.Command(q.path, q.arguments(cfg)...)
	cmd.ExtraFiles = append([]*os.File{initramfs, theirs}, disks...)
	return launch(cfg, cmd, channel, nil)
}

// attempts implements emulator. QEMU's emulation now and then hangs a machine that boots (see l1's steady); nothing of the command has run by
// then, and starting again costs only time.
func (q qemu) attempts() []float64 { return []float64{0.25, 0.25, 0.5} }

// describe implements emulator.
func (q qemu) describe() string { return fmt.Sprintf("an emulated AMD host (%v", q) }
