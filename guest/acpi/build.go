package acpi

import (
	"errors"
	"fmt"
)

// The region the tables go to: the part of the BIOS area that a guest without
// a pointer from its loader scans for the RSDP (section 5.2.5.1).
const (
	RegionStart = 0xe0000
	RegionEnd   = 0x100000
)

// Fixed hardware the tables announce. Whoever builds the machine puts the
// registers at these I/O ports.
const (
	// SleepControlPort and SleepStatusPort are one byte each (section 4.8.3.7).
	SleepControlPort = 0x600
	SleepStatusPort  = 0x601
	// ResetPort resets the machine when ResetValue is written to it (section
	// 4.8.3.6): the chipset's reset control register.
	ResetPort  = 0xcf9
	ResetValue = 0x06
	// SleepTypeS5 is the SLP_TYP value of the soft-off state in \_S5.
	SleepTypeS5 = 5
	// LocalAPICAddress and IOAPICAddress are where PCs have them.
	LocalAPICAddress = 0xfee00000
	IOAPICAddress    = 0xfec00000
)

// maxCPUs is what processor names of the form Cxxx can count.
const maxCPUs = 0x1000

// Device is a device of the DSDT's \_SB scope.
type Device interface {
	// AML returns the device's term, normally an aml.Device.
	AML() []byte
}

// Table is one more table for the XSDT to list. Build adds the header with
// its length and checksum.
type Table struct {
	Signature string // four characters
	Revision  uint8
	Body      []byte // what follows the header
}

// Config says what the tables describe.
type Config struct {
	// APICIDs holds the local APIC ID of each vCPU in ascending order, the
	// boot processor's first. A vCPU's ACPI processor UID is its index.
	APICIDs []uint32
	// IOAPICID is the ID of the one IOAPIC, whose pins are GSI 0 and up.
	IOAPICID uint8
	Devices  []Device
	Tables   []Table
}

// Blob is one table in guest memory.
type Blob struct {
	Name string // the signature, or "RSDP"
	GPA  uint64
	Data []byte
}

// Tables are finished tables.
type Tables struct {
	// RSDP is the root pointer's address, for boot_params.acpi_rsdp_addr.
	RSDP  uint64
	Blobs []Blob
}

// Build lays the tables out from RegionStart, the RSDP first.
func Build(cfg Config) (Tables, error) {
	if err := cfg.validate(); err != nil {
		return Tables{}, fmt.Errorf("acpi: %w", err)
	}
	l := layout{next: RegionStart + rsdpSize}
	dsdtAt := l.place("DSDT", dsdt(cfg))
	tables := []uint64{
		l.place("FACP", fadt(dsdtAt)),
		l.place("APIC", madt(cfg)),
	}
	for _, t := range cfg.Tables {
		tables = append(tables, l.place(t.Signature, table(t.Signature, t.Revision, t.Body)))
	}
	root := rsdp(l.place("XSDT", xsdt(tables)))
	if l.next > RegionEnd {
		return Tables{}, fmt.Errorf("acpi: tables for %d vCPUs take %d bytes, the region 0x%x-0x%x holds %d",
			len(cfg.APICIDs), l.next-RegionStart, RegionStart, RegionEnd-1, RegionEnd-RegionStart)
	}
	blobs := append([]Blob{{Name: "RSDP", GPA: RegionStart, Data: root}}, l.blobs...)
	return Tables{RSDP: RegionStart, Blobs: blobs}, nil
}

func (cfg *Config) validate() error {
	if len(cfg.APICIDs) == 0 {
		return errors.New("no vCPUs")
	}
	if len(cfg.APICIDs) > maxCPUs {
		return fmt.Errorf("%d vCPUs, at most %d can be named", len(cfg.APICIDs), maxCPUs)
	}
	for i, id := range cfg.APICIDs {
		if i > 0 && id <= cfg.APICIDs[i-1] {
			return fmt.Errorf("APIC ID %d of vCPU %d does not follow %d", id, i, cfg.APICIDs[i-1])
		}
		// The broadcast ID of x2APIC mode.
		if id == 0xffffffff {
			return fmt.Errorf("APIC ID 0x%x of vCPU %d is reserved", id, i)
		}
	}
	for _, t := range cfg.Tables {
		if len(t.Signature) != 4 {
			return fmt.Errorf("table signature %q is not four characters", t.Signature)
		}
	}
	return nil
}

// layout hands out guest addresses in ascending order.
type layout struct {
	next  uint64
	blobs []Blob
}

// place aligns each table to 16 bytes; ACPI asks that of the RSDP alone, and
// it makes memory dumps readable.
func (l *layout) place(name string, data []byte) uint64 {
	at := (l.next + 15) &^ 15
	l.blobs = append(l.blobs, Blob{Name: name, GPA: at, Data: data})
	l.next = at + uint64(len(data))
	return at
}
