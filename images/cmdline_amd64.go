package images

import "strings"

// DefaultCmdline is the command line of the default guest. Each word spares
// exits or time at boot, or ends a guest that would otherwise hang; none takes
// away what a guest can do. Parameters of the agent (doorbell.*) come after it.
var DefaultCmdline = strings.Join([]string{
	// The first serial port is the only screen.
	"console=ttyS0",
	// Messages below "warning" stay in the kernel's buffer: on a serial
	// port each character of them costs an exit. 4,000 exits for a whole
	// boot with one vCPU instead of 50,000.
	"quiet",
	// A kernel that panics resets at once, and the run ends, instead of
	// halting its CPUs for ever. The way to reset is left to the kernel: it
	// takes the FADT's reset register.
	"panic=-1",
	// The kernel probes four serial ports by default; three of them are
	// never there. 18 exits less.
	"8250.nr_uarts=1",
	// No scan of PCI bus 0 through ports 0xcf8 and 0xcfc before ACPI is up,
	// which looks for chipsets with faults that no guest has. 225 exits
	// less on an AMD host. Unlike pci=off it leaves PCI itself alone.
	"pci=noearly",
}, " ")

// Left out on purpose:
//
//   - no_timer_check, random.trust_cpu=on: a Debian kernel that sees KVM does
//     so by itself.
//   - i8042.noaux, i8042.nokbd: the kernel does not look for a keyboard
//     controller when the FADT says that there is none.
//   - pci=off: 27 exits less than pci=noearly, and no PCI device ever.
//   - tsc=reliable: made no difference that could be told from chance, and
//     takes away the check of the TSC that measurements of time rely on.
//   - mitigations=off, init_on_alloc=0, apparmor=0: faster, but no longer the
//     kernel that people run.
