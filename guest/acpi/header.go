package acpi

import "encoding/binary"

// The identification fields of every table (section 5.2.6), and the
// hypervisor vendor identity of the FADT.
const (
	oemID           = "DRBELL"
	oemTableID      = "DOORBELL"
	oemRevision     = 1
	creatorID       = "DBEL"
	creatorRevision = 1
	vendorID        = "DOORBELL"
)

// headerSize is that of a system description table header.
const headerSize = 36

// table puts a header in front of body and makes all bytes sum to zero.
func table(signature string, revision uint8, body []byte) []byte {
	t := make([]byte, 0, headerSize+len(body))
	t = append(t, signature...)
	t = binary.LittleEndian.AppendUint32(t, uint32(headerSize+len(body)))
	t = append(t, revision, 0)
	t = append(t, oemID...)
	t = append(t, oemTableID...)
	t = binary.LittleEndian.AppendUint32(t, oemRevision)
	t = append(t, creatorID...)
	t = binary.LittleEndian.AppendUint32(t, creatorRevision)
	t = append(t, body...)
	t[9] = checksum(t)
	return t
}

// checksum returns the byte that makes the sum of b and itself zero.
func checksum(b []byte) byte {
	var sum byte
	for _, c := range b {
		sum += c
	}
	return -sum
}
