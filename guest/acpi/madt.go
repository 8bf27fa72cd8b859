package acpi

import "encoding/binary"

const madtRevision = 5

// Interrupt controller structure types (section 5.2.12).
const (
	madtLocalAPIC      = 0
	madtIOAPIC         = 1
	madtLocalAPICNMI   = 4
	madtLocalX2APIC    = 9
	madtLocalX2APICNMI = 10
)

// firstX2APICID is the first ID that a Local APIC structure must not carry:
// 0xff is xAPIC mode's broadcast.
const firstX2APICID = 0xff

// madt is the multiple APIC description table. Its flags are zero: PCAT_COMPAT
// would announce a pair of 8259s, which this platform does not promise (a
// split or userspace interrupt controller may come without).
func madt(cfg Config) []byte {
	const enabled = 1
	b := binary.LittleEndian.AppendUint32(nil, LocalAPICAddress)
	b = binary.LittleEndian.AppendUint32(b, 0)
	x2 := false
	for uid, id := range cfg.APICIDs {
		if id < firstX2APICID {
			// IDs ascend, so an ID that fits a byte has a UID that does.
			b = append(b, madtLocalAPIC, 8, byte(uid), byte(id))
			b = binary.LittleEndian.AppendUint32(b, enabled)
			continue
		}
		x2 = true
		b = append(b, madtLocalX2APIC, 16, 0, 0)
		b = binary.LittleEndian.AppendUint32(b, id)
		b = binary.LittleEndian.AppendUint32(b, enabled)
		b = binary.LittleEndian.AppendUint32(b, uint32(uid))
	}
	b = append(b, madtIOAPIC, 12, cfg.IOAPICID, 0)
	b = binary.LittleEndian.AppendUint32(b, IOAPICAddress)
	b = binary.LittleEndian.AppendUint32(b, 0)

	// NMI arrives at LINT1 of every processor: UID of all ones, flags of zero
	// (the bus's polarity and trigger).
	const lint1 = 1
	b = append(b, madtLocalAPICNMI, 6, 0xff, 0, 0, lint1)
	if x2 {
		b = append(b, madtLocalX2APICNMI, 12, 0, 0, 0xff, 0xff, 0xff, 0xff, lint1, 0, 0, 0)
	}
	return table("APIC", madtRevision, b)
}
