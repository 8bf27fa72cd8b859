package acpi

import "doorbell/guest/acpi/aml"

// present is _STA of a device that is there, enabled, shown and working.
const present = 0xf

// Serial is a 16550A serial port with eight registers at Port.
type Serial struct {
	Name string // of the device, such as "COM1"
	UID  uint64
	Port uint16
	GSI  uint32
}

// AML implements Device.
func (s Serial) AML() []byte {
	return aml.Device(s.Name,
		aml.Name("_HID", aml.EISAID("PNP0501")),
		aml.Name("_UID", aml.Int(s.UID)),
		aml.Name("_STA", aml.Int(present)),
		aml.Name("_CRS", aml.ResourceTemplate(
			aml.IO(s.Port, s.Port, 1, 8),
			aml.Interrupt(aml.Edge, aml.ActiveHigh, aml.Exclusive, s.GSI))))
}

// RTC is the CMOS real-time clock, with its index and data ports at Port.
type RTC struct {
	Port uint16
	GSI  uint32
}

// AML implements Device.
func (r RTC) AML() []byte {
	return aml.Device("RTC",
		aml.Name("_HID", aml.EISAID("PNP0B00")),
		aml.Name("_STA", aml.Int(present)),
		aml.Name("_CRS", aml.ResourceTemplate(
			aml.IO(r.Port, r.Port, 1, 2),
			aml.Interrupt(aml.Edge, aml.ActiveHigh, aml.Exclusive, r.GSI))))
}

// Mailbox is the channel between the guest's agent and the host: one memory
// range that holds its register page and its shared RAM. Linux lists it in
// /proc/iomem as "DBEL0001:00".
type Mailbox struct {
	Base uint32
	Size uint32
}

// AML implements Device.
func (m Mailbox) AML() []byte {
	return aml.Device("MBOX",
		aml.Name("_HID", aml.String("DBEL0001")),
		aml.Name("_UID", aml.Int(0)),
		aml.Name("_STA", aml.Int(present)),
		aml.Name("_CRS", aml.ResourceTemplate(aml.Memory32Fixed(m.Base, m.Size))))
}
