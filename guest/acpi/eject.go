package acpi

import (
	"fmt"
	"maps"
	"slices"

	"doorbell/guest/acpi/aml"
)

// Ejector lets the machine take devices off its PCI bus: the event device of hardware-reduced ACPI (section 5.6.9), whose interrupt says that EjectPort
// has a bit for each device number that the guest shall let go of. The guest's driver leaves the device, and its _EJ0 writes the bit back.
type Ejector struct {
	GSI     uint32
	Devices map[int]bool // by number on the bus
}

// EjectPort is four bytes: read, the devices whose ejection is asked for; written, those that the guest has let go of.
const (
	EjectPort = 0x608
	EjectSize = 4
)

const ejectRequest = 3 // a notification's value for a device (section 5.6.6)

// slot names the device with a number.
func slot(n int) string { return fmt.Sprintf("S%02X", n) }

// AML implements Device. It comes after the host bridge, whose devices it adds.
func (e Ejector) AML() []byte {
	var slots, events [][]byte
	for _, n := range slices.Sorted(maps.Keys(e.Devices)) {
		slots = append(slots, aml.Device(slot(n),
			aml.Name("_ADR", aml.Int(uint64(n)<<16)),
			aml.Name("_SUN", aml.Int(uint64(n))),
			aml.Method("_EJ0", 1, aml.SetBit(`\_SB.EJCT.GONE`, n))))
		events = append(events, aml.If(aml.Bit("GONE", n), aml.Notify(`\_SB.PCI0.`+slot(n), ejectRequest)))
	}
	event := aml.Device("EJCT",
		aml.Name("_HID", aml.String("ACPI0013")),
		aml.Name("_UID", aml.Int(0)),
		aml.Name("_CRS", aml.ResourceTemplate(aml.Interrupt(aml.Edge, aml.ActiveHigh, aml.Exclusive, e.GSI))),
		aml.PortField("REGS", "GONE", EjectPort),
		aml.Method("_EVT", 1, events...))
	return append(aml.Scope(`\_SB.PCI0`, slots...), event...)
}
