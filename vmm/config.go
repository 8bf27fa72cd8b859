package vmm

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"doorbell/guest/memory"
	"doorbell/irqchip"
)

// Config is what a machine is made of.
type Config struct {
	Kernel  string // path of a bzImage or an ELF vmlinux
	Initrd  string // path; empty for none
	Cmdline string
	Memory  uint64 // bytes
	VCPUs   int
	IRQChip string // one of irqchip.Names
	Net     NetConfig

	// VFIO are the addresses of the host's devices that become the guest's, or VFIOAuto for the only one there is. UnsafeInterrupts takes them on a
	// host without interrupt remapping, too.
	VFIO             []string
	UnsafeInterrupts bool

	// IRQProbe adds a function that interrupts when its driver tells it to (package irqprobe).
	IRQProbe bool

	// TestDev adds the devices that test kernels for hypervisors expect (package testdev): above all a port that ends the machine with a status.
	TestDev bool

	// Vectors has the account say what KVM's local APICs did with each vector, by their tracepoints. It costs each interrupt a little time, and no exit.
	Vectors bool

	// NMI presses the machine's NMI button, once for each value, while the guest runs; nil is never. It is not closed.
	NMI <-chan os.Signal

	Input  io.Reader // what is typed at the serial console; nil for nothing
	Output io.Writer // the serial console's output

	// Warn takes one line at a time of what a user did not ask for and has to know; nil is Log.
	Warn func(format string, args ...any)
	// Log takes one line at a time of what a user may want to know; nil discards it.
	Log func(format string, args ...any)
}

// ConfigError is a machine that cannot be built as asked: the fault is in the request, not in the host.
type ConfigError struct {
	Flag   string // the command line's name of the setting
	Reason string
}

func (e *ConfigError) Error() string { return fmt.Sprintf("%s: %s", e.Flag, e.Reason) }

// Limits of a machine's memory: less than this holds no Linux; more than that KVM does not map as one slot
// (KVM_MEM_MAX_NR_PAGES is 2^31-1).
const (
	minMemory = 16 << 20
	maxMemory = 4 << 40
	pageSize  = 1 << 12

	maxCmdline = 2047 // COMMAND_LINE_SIZE of x86, less the final zero
)

// Validate checks what needs no host; an error is a *ConfigError. maxVCPUs is the host's limit.
func (c *Config) Validate(maxVCPUs int) error {
	switch {
	case c.Memory < minMemory:
		return &ConfigError{"-m", fmt.Sprintf("%s of memory are too little; a Linux guest needs at least %s", memory.FormatSize(c.Memory), memory.FormatSize(minMemory))}
	case c.Memory > maxMemory:
		return &ConfigError{"-m", fmt.Sprintf("%s of memory are more than a guest can have (%s)", memory.FormatSize(c.Memory), memory.FormatSize(maxMemory))}
	case c.Memory%pageSize != 0:
		return &ConfigError{"-m", fmt.Sprintf("%d bytes are not a multiple of the page size", c.Memory)}
	case c.VCPUs < 1:
		return &ConfigError{"-c", fmt.Sprintf("%d vCPUs: a machine needs at least one", c.VCPUs)}
	case c.VCPUs > maxVCPUs:
		return &ConfigError{"-c", fmt.Sprintf("%d vCPUs are more than this host allows (%d, by KVM_CAP_MAX_VCPUS)", c.VCPUs, maxVCPUs)}
	case !slices.Contains(irqchip.Names, c.IRQChip):
		return &ConfigError{"--irqchip", fmt.Sprintf("%q: there is %s", c.IRQChip, strings.Join(irqchip.Names, ", "))}
	case c.Kernel == "":
		return &ConfigError{"-k", "no kernel"}
	case len(c.VFIO) > maxVFIO:
		return &ConfigError{"--device", fmt.Sprintf("%d devices: the bus has room for %d", len(c.VFIO), maxVFIO)}
	case len(c.Cmdline) > maxCmdline:
		return &ConfigError{"-p", fmt.Sprintf("%d bytes; a kernel reads at most %d", len(c.Cmdline), maxCmdline)}
	}
	return nil
}
