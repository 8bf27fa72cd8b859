package lab

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"doorbell/internal/lab/l1"
)

// A Module is a kernel module that L1 loads.
type Module struct {
	Name   string // for messages
	Path   string // the .ko file on this machine, not compressed
	Params string // as on insmod's command line
}

// A File is carried into L1 in addition to what the command line names.
type File struct {
	Host  string // path of a regular file on this machine; its permissions are kept
	Guest string // absolute path in L1
}

// Config says what to run and on what.
type Config struct {
	// Kernel is L1's kernel. An unpacked vmlinux, which QEMU enters by PVH,
	// is up about a second earlier than a bzImage, which unpacks itself under
	// emulation.
	Kernel string
	// Modules are loaded in this order. virtio_console must be among them or
	// built in, with what it needs: virtio_ring, virtio, virtio_pci_legacy_dev,
	// virtio_pci_modern_dev and virtio_pci, in this order for Linux 6.1. What
	// the lab is for are irqbypass, kvm and kvm-amd.
	Modules []Module
	// Init is the binary that becomes L1's /init and /usr/bin/doorbell: one
	// that calls Init when IsInit. Default: this process's executable.
	Init string

	// Command is a name and its arguments. The name "doorbell" means Init.
	// Every part of an argument that names a file of this machine makes the
	// file travel along; see arguments.go for the rules.
	Command []string
	// Dir is the folder that the command runs in. Default: the current one.
	Dir string
	// Env is added to L1's own HOME and PATH.
	Env []string
	// Files and Binaries travel along too. Binaries are executables, by path
	// or by name in PATH, that bring their interpreters and libraries.
	Files    []File
	Binaries []string

	Stdin          io.Reader // nil: empty
	Stdout, Stderr io.Writer // nil: discarded
	// TTY gives the command a terminal instead of pipes. Stdin must then be
	// the *os.File of a terminal, which is in raw mode while the command
	// runs; everything that the command writes arrives on Stdout.
	TTY bool
	// Signals are forwarded to the command's process group. The second of
	// them, or one before the command has started, stops the lab instead;
	// SIGUSR2, which asks nobody to end, is forwarded as often as it comes,
	// and dropped before.
	// Default: this process's SIGINT, SIGTERM, SIGHUP, SIGQUIT and SIGUSR2.
	Signals <-chan os.Signal

	Memory int64 // L1's, in bytes; default 3 GiB, with Bochs 2, which is also the most there. Half of it can hold files.
	CPUs   int   // that the command may use; default 2. An emulated L1 with several has one more, for its kernel alone.
	// Devices are PCI functions behind an IOMMU, which L1 finds bound to vfio-pci; at most 8. Its modules must be among Modules: vfio, vfio_virqfd,
	// vfio_iommu_type1, vfio-pci-core and vfio-pci; with network cards virtio_net, too, for L1's own card at the same hub, which has PeerAddress.
	Devices []Device
	QEMU    string
	// Bochs is a folder that bochs.Recipe describes; with one the host is Bochs's emulated Intel host and not QEMU's. Kernel must be a bzImage then,
	// kvm-intel takes kvm-amd's place among Modules and virtio's are of no use. It has no devices to pass through.
	Bochs string
	// Accel is QEMU's accelerator. Default: tcg,thread=multi. With kvm, on a
	// machine with nested KVM, L1 gets the machine's own processor type.
	Accel string
	// StartTimeout bounds the time until L1 is up. Default: 2 minutes, 5 for Bochs.
	StartTimeout time.Duration
	// MaxSilence is after how long without a word a host that is up counts as dead: it speaks every wire.AliveEvery. A busy emulator is
	// slow, but not that slow. Default: 90 seconds, 10 minutes for Bochs, which interprets.
	MaxSilence time.Duration
	// Retries is how often the command is run again, from its beginning, after the host died under it. What it has written to Stdout is
	// written again; what it has read from Stdin is gone.
	Retries int

	// Progress gets one line about starting; nil: none.
	Progress io.Writer
	// Console gets L1's console, and makes its kernel talkative; nil: only
	// the line that explains a failure is kept.
	Console io.Writer
}

// A Result is how the command ended.
type Result struct {
	// ExitStatus is what the caller should exit with: the command's own
	// status, or 128+n when signal n killed it; beside an error 1, or 128+n
	// when signal n stopped the lab.
	ExitStatus int
	Signal     syscall.Signal // n, otherwise 0
	// StartSeconds is the time from the call of Run to the command's first
	// instruction; 0 when it did not get there.
	StartSeconds float64
	// Files are the written files that came back, by their absolute paths.
	Files []string
}

// IsInit tells whether this process is L1's first process. A main function
// that may serve as Config.Init calls it before anything else.
func IsInit() bool { return l1.IsInit() }

// Init is L1's /init: it sets L1 up, runs the command and powers L1 off. It
// never returns.
func Init() { l1.Init() }

const (
	gib = 1 << 30
	// bochsMemory is the most that Bochs's host has: below the hole for PCI.
	bochsMemory = 2 * gib
)

// withDefaults returns a copy of cfg with every default filled in, or what is
// wrong with cfg.
func (cfg Config) withDefaults() (Config, error) {
	if len(cfg.Command) == 0 || cfg.Command[0] == "" {
		return cfg, errors.New("lab: no command given")
	}
	if cfg.Kernel == "" {
		return cfg, errors.New("lab: no kernel given")
	}
	var err error
	if cfg.Init == "" {
		if cfg.Init, err = os.Executable(); err != nil {
			return cfg, fmt.Errorf("lab: find this program's own file: %w", err)
		}
	}
	if cfg.Dir == "" {
		if cfg.Dir, err = os.Getwd(); err != nil {
			return cfg, fmt.Errorf("lab: current folder: %w", err)
		}
	}
	if cfg.Dir, err = filepath.Abs(cfg.Dir); err != nil {
		return cfg, fmt.Errorf("lab: folder %s: %w", cfg.Dir, err)
	}
	if cfg.Memory == 0 {
		cfg.Memory = 3 * gib
		if cfg.Bochs != "" {
			cfg.Memory = bochsMemory
		}
	}
	if cfg.Bochs != "" && cfg.Memory > bochsMemory {
		return cfg, fmt.Errorf("lab: memory of %d bytes: Bochs's host has at most %d", cfg.Memory, bochsMemory)
	}
	if cfg.Memory < gib/4 {
		return cfg, fmt.Errorf("lab: memory of %d bytes: Linux and its modules need at least 256 MiB", cfg.Memory)
	}
	if cfg.CPUs == 0 {
		cfg.CPUs = 2
	}
	if cfg.CPUs < 0 {
		return cfg, fmt.Errorf("lab: %d CPUs: at least 1 is needed", cfg.CPUs)
	}
	if n := len(cfg.Devices); n > maxDevices {
		return cfg, fmt.Errorf("lab: %d devices: at most %d have a place", n, maxDevices)
	}
	if cfg.Accel == "" {
		cfg.Accel = "tcg,thread=multi"
	}
	start, silence := 2*time.Minute, 90*time.Second
	if cfg.Bochs != "" {
		if cfg.passes() {
			return cfg, errors.New("lab: Bochs has no IOMMU: it has no devices to pass through")
		}
		start, silence = 5*time.Minute, 10*time.Minute
	}
	if cfg.StartTimeout == 0 {
		cfg.StartTimeout = start
	}
	if cfg.MaxSilence == 0 {
		cfg.MaxSilence = silence
	}
	if cfg.Stdout == nil {
		cfg.Stdout = io.Discard
	}
	if cfg.Stderr == nil {
		cfg.Stderr = io.Discard
	}
	return cfg, nil
}

// PeerAddress is L1's own, with the length of the network, on the network of the cards that it passes through.
const PeerAddress = l1.PeerAddress

func (cfg Config) emulated() bool { return cfg.Bochs != "" || !strings.HasPrefix(cfg.Accel, "kvm") }

// spareFirst says whether L1 has a first processor that the command does not get, for the reason that l1's function of that name gives.
func (cfg Config) spareFirst() bool { return cfg.Bochs == "" && cfg.emulated() && cfg.CPUs > 1 }
