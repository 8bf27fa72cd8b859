package acpi

import (
	"encoding/binary"
	"maps"
	"slices"

	"doorbell/guest/acpi/aml"
)

// PCIWindow is a range of memory addresses or of ports, First to Last, that a host bridge passes on to its bus.
type PCIWindow struct{ First, Last uint64 }

// HostBridge is a PCI Express host bridge with one bus. Its functions use MSI and MSI-X, but for those devices that have their INTx# pins wired. Its
// configuration mechanisms are ports 0xcf8 to 0xcff and the ECAM window.
type HostBridge struct {
	ECAM     uint32 // of bus 0, 1 MiB
	Memory32 PCIWindow
	Memory64 PCIWindow // Last 0: none
	Ports    PCIWindow // Last 0: none
	// Pins is the GSI that all four INTx# pins of a device, by its number on the bus, are wired to: level-triggered, active low.
	Pins map[int]uint32
}

// ecamSize is 4 KiB for each of the 256 functions of one bus (PCI Express, section 7.2.2).
const ecamSize = 1 << 20

// AML implements Device. The ECAM window belongs to a motherboard device (PCI Firmware Specification 3.3, section 4.1.2): Linux does
// not use one that no such device, nor the memory map, has reserved.
func (h HostBridge) AML() []byte {
	resources := [][]byte{
		aml.WordBusNumber(0, 0),
		aml.IO(0xcf8, 0xcf8, 1, 8),
		aml.DWordMemory(uint32(h.Memory32.First), uint32(h.Memory32.Last)),
	}
	if h.Memory64.Last > 0 {
		resources = append(resources, aml.QWordMemory(h.Memory64.First, h.Memory64.Last))
	}
	if h.Ports.Last > 0 {
		resources = append(resources, aml.WordIO(uint16(h.Ports.First), uint16(h.Ports.Last)))
	}
	objects := [][]byte{
		aml.Name("_HID", aml.EISAID("PNP0A08")),
		aml.Name("_CID", aml.EISAID("PNP0A03")),
		aml.Name("_UID", aml.Int(0)),
		aml.Name("_SEG", aml.Int(0)),
		aml.Name("_BBN", aml.Int(0)),
		aml.Name("_CRS", aml.ResourceTemplate(resources...)),
	}
	if len(h.Pins) > 0 {
		objects = append(objects, aml.Name("_PRT", h.routing()))
	}
	bridge := aml.Device("PCI0", objects...)
	board := aml.Device("MRES",
		aml.Name("_HID", aml.EISAID("PNP0C02")),
		aml.Name("_UID", aml.Int(0)),
		aml.Name("_CRS", aml.ResourceTemplate(aml.Memory32Fixed(h.ECAM, ecamSize))))
	return append(bridge, board...)
}

// routing is the _PRT (section 6.2.13): packages of the device's address with all its functions, the pin from 0, and a GSI, which source 0 says it
// is. Interrupts routed so are level-triggered and active low.
func (h HostBridge) routing() []byte {
	var rows [][]byte
	for _, device := range slices.Sorted(maps.Keys(h.Pins)) {
		for pin := range uint64(4) {
			rows = append(rows, aml.Package(aml.Int(uint64(device)<<16|0xffff), aml.Int(pin), aml.Int(0), aml.Int(uint64(h.Pins[device]))))
		}
	}
	return aml.Package(rows...)
}

// MCFG is the table that tells the ECAM window (PCI Firmware Specification 3.3, section 4.1.2): eight reserved bytes, then an entry with the
// base address, segment 0, the first and the last bus, both 0.
func (h HostBridge) MCFG() Table {
	body := make([]byte, 8+16)
	binary.LittleEndian.PutUint64(body[8:], uint64(h.ECAM))
	return Table{Signature: "MCFG", Revision: 1, Body: body}
}
