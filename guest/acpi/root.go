package acpi

import "encoding/binary"

const (
	rsdpSize     = 36
	rsdpV1Size   = 20
	rsdpRevision = 2
	xsdtRevision = 1
)

// rsdp is the root system description pointer (section 5.2.5.3). It has two
// checksums: the first 20 bytes, as ACPI 1.0 knew it, and all of it. There is
// no RSDT: everything that reads revision 2 takes the XSDT.
func rsdp(xsdtAt uint64) []byte {
	r := make([]byte, rsdpSize)
	copy(r, "RSD PTR ")
	copy(r[9:], oemID)
	r[15] = rsdpRevision
	binary.LittleEndian.PutUint32(r[20:], rsdpSize)
	binary.LittleEndian.PutUint64(r[24:], xsdtAt)
	r[8] = checksum(r[:rsdpV1Size])
	r[32] = checksum(r)
	return r
}

// xsdt lists the addresses of the other tables (section 5.2.8). The DSDT is
// not among them: the FADT points to it.
func xsdt(tables []uint64) []byte {
	var body []byte
	for _, at := range tables {
		body = binary.LittleEndian.AppendUint64(body, at)
	}
	return table("XSDT", xsdtRevision, body)
}
