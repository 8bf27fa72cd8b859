package guest

import (
	"fmt"
	"strings"
)

// Blob is an ACPI table with the address it was built for.
type Blob struct {
	GPA  uint64
	Data []byte
}

// name is the table's signature where it has one.
func (b Blob) name() string {
	const rsdp = "RSD PTR "
	if len(b.Data) >= len(rsdp) && string(b.Data[:len(rsdp)]) == rsdp {
		return "ACPI RSDP"
	}
	if len(b.Data) >= 4 {
		sig := string(b.Data[:4])
		if strings.Trim(sig, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == "" {
			return "ACPI " + sig
		}
	}
	return "ACPI table"
}

// checkACPI keeps the tables in their area and the root pointer on a table.
func checkACPI(blobs []Blob, rsdp uint64) error {
	found := rsdp == 0
	for _, b := range blobs {
		if b.GPA < ACPIStart || b.GPA > ACPIEnd || uint64(len(b.Data)) > ACPIEnd-b.GPA {
			return fmt.Errorf("%s of %d bytes at %#x lies outside the ACPI area %#x-%#x",
				b.name(), len(b.Data), b.GPA, ACPIStart, ACPIEnd-1)
		}
		found = found || b.GPA == rsdp
	}
	if !found {
		return fmt.Errorf("ACPI: no table at the root pointer %#x", rsdp)
	}
	return nil
}
