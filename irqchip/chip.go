package irqchip

import (
	"errors"
	"fmt"

	"doorbell/internal/kvm"
	"doorbell/internal/ledger"
	"doorbell/internal/pci"
	"doorbell/vcpu"
)

// Names of the three controllers, as users and reports know them.
const (
	KernelName = "kernel"
	SplitName  = "split"
	UserName   = "user"
)

// Names are all of them.
var Names = []string{KernelName, SplitName, UserName}

// Chip is a machine's interrupt controllers. Lines are made and closed while the guest does not run; the rest is for any thread.
type Chip interface {
	pci.Vectors

	// Name is KernelName, SplitName or UserName.
	Name() string
	// NewLine gives a device an edge-triggered line to a GSI, which is a pin of the IOAPIC and, below 16, an IRQ of the PICs as well.
	NewLine(gsi uint32, count *ledger.Line) (Line, error)
	// NewLevel gives a device a level-triggered line to a GSI. The lines of a GSI are ORed: it is active while one of them is.
	NewLevel(gsi uint32, count *ledger.Line) (Level, error)
	// NewResampled gives a device that only has eventfds a level-triggered line to a GSI of the IOAPIC.
	NewResampled(gsi uint32, count *ledger.Line) (*Resampled, error)
	// Registers are the registers of those controllers that are outside KVM, and where they are.
	Registers() []Registers
	// VCPU is what a vCPU's thread has to do for the controllers; nil if it is nothing.
	VCPU(id int) vcpu.Controller
	// TableChanges is how often KVM's routing table was replaced.
	TableChanges() uint64
	// Account is what those controllers did that are outside KVM; any thread may ask.
	Account() ledger.Interrupts
	// Close takes every line off and stops the timers. The vCPUs have been closed.
	Close() error
}

// Line is an edge-triggered interrupt line of a device.
type Line interface {
	// Raise pulses the line: the controller sees one edge. Any thread may call it.
	Raise()
	// Close takes the line off its controller.
	Close() error
}

// Level is a level-triggered interrupt line of a device.
type Level interface {
	// Set asks for an interrupt, or ceases to. The device calls it under whatever guards its own state, so that the line follows the device.
	Set(level bool)
	// Close lowers the line and takes it off its controller.
	Close() error
}

// Registers is a block of a controller's registers that guests reach by exits to userspace.
type Registers struct {
	Name       string
	Space      ledger.Space
	Base, Size uint64
	Granule    uint64 // bytes of one register, for the ledger
	Device     Device
}

// Device answers accesses to registers: off is relative to the base, p of 1 to 8 bytes.
type Device interface {
	Read(off uint64, p []byte)
	Write(off uint64, p []byte)
	RegisterName(off uint64, write bool) string
}

// Config is what controllers need of their machine.
type Config struct {
	Name   string // one of Names
	VM     *kvm.VM
	Caps   *kvm.Capabilities
	VCPUs  int
	Ledger *ledger.Ledger
	// PhysBits is the width of the guest's physical addresses.
	PhysBits int
	// ActiveLow has a bit for each pin of the IOAPIC whose lines pull it low, as PCI's INTx# do. KVM's IOAPIC does not ask.
	ActiveLow uint32
	// Warn takes what a user has to know, one line at a time.
	Warn func(format string, args ...any)
}

// New makes a machine's controllers, before its first vCPU. Where the host's kernel has no IOAPIC, kernel becomes split, and Warn says so.
// Errors are those of KVM, or a *kvm.NotSupportedError with what the host lacks.
func New(c Config) (Chip, error) {
	switch c.Name {
	case KernelName:
		chip, err := newKernel(c)
		var lacks *kvm.NotSupportedError
		if !errors.As(err, &lacks) || c.Caps.Value(kvm.CapSplitIRQChip) == 0 {
			return result(chip, err)
		}
		c.Warn("%v: the machine gets the split controllers", lacks)
		return result(newSplit(c))
	case SplitName:
		return result(newSplit(c))
	case UserName:
		return result(newUser(c))
	}
	return nil, fmt.Errorf("no interrupt controllers are named %q", c.Name)
}

// result keeps a nil pointer from becoming an interface that is not nil.
func result[C Chip](chip C, err error) (Chip, error) {
	if err != nil {
		return nil, err
	}
	return chip, nil
}

// ioapicPins is the number of pins of KVM's IOAPIC (KVM_IOAPIC_NUM_PINS) and of ours; their GSIs are 0 and up. The first picPins of them
// are the PICs' IRQs, too.
const (
	ioapicPins = 24
	picPins    = 16
)

// pinError is the refusal of a GSI that is no pin.
func pinError(gsi uint32) error {
	return fmt.Errorf("GSI %d is no pin of the IOAPIC, which has 0 to %d", gsi, ioapicPins-1)
}
