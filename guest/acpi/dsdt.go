package acpi

import (
	"fmt"

	"doorbell/guest/acpi/aml"
)

// dsdtRevision 2 and up makes AML integers 64 bits wide.
const dsdtRevision = 2

func dsdt(cfg Config) []byte {
	var devices [][]byte
	for _, d := range cfg.Devices {
		devices = append(devices, d.AML())
	}
	for uid := range cfg.APICIDs {
		devices = append(devices, aml.Device(fmt.Sprintf("C%03X", uid),
			aml.Name("_HID", aml.String("ACPI0007")),
			aml.Name("_UID", aml.Int(uint64(uid)))))
	}
	// _S5's first element goes to the sleep control register; the second is for
	// the PM1b block, which is not there (section 7.4.2).
	body := aml.Name(`\_S5`, aml.Package(aml.Int(SleepTypeS5), aml.Int(SleepTypeS5), aml.Int(0), aml.Int(0)))
	body = append(body, aml.Scope(`\_SB`, devices...)...)
	return table("DSDT", dsdtRevision, body)
}
