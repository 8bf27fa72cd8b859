package acpi

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"doorbell/guest/acpi/aml"
)

// bridge uses the resource descriptors that the built-in devices do not.
type bridge struct{}

func (bridge) AML() []byte {
	return aml.Device("BRDG",
		aml.Name("_HID", aml.EISAID("PNP0A08")),
		aml.Name("_CRS", aml.ResourceTemplate(
			aml.WordBusNumber(0, 0xff),
			aml.WordIO(0x1000, 0xffff),
			aml.DWordMemory(0xe0000000, 0xefffffff),
			aml.QWordMemory(0x4000000000, 0x7fffffffff),
			aml.IRQNoFlags(1<<5))))
}

// iasl runs ACPICA's compiler, the reference reader of these tables, and
// returns everything it says.
func iasl(t *testing.T, args ...string) string {
	t.Helper()
	path, err := exec.LookPath("iasl")
	if err != nil {
		t.Fatalf("this test reads the tables with iasl: install the package acpica-tools (%v)", err)
	}
	var out bytes.Buffer
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("iasl %s: %v\n%s", strings.Join(args, " "), err, out.String())
	}
	return out.String()
}

var complaint = regexp.MustCompile(`(?im)^.*\b(error|warning|invalid|incorrect|unknown|not found)\b.*$`)

// disassemble returns the DSL of each table by signature. The RSDP is not a
// table that iasl takes from a file.
func disassemble(t *testing.T, tables Tables) map[string]string {
	t.Helper()
	dir := t.TempDir()
	dsl := map[string]string{}
	for _, b := range tables.Blobs {
		if b.Name == "RSDP" {
			continue
		}
		file := filepath.Join(dir, b.Name+".dat")
		if err := os.WriteFile(file, b.Data, 0o644); err != nil {
			t.Fatal(err)
		}
		said := iasl(t, "-d", file)
		text, err := os.ReadFile(filepath.Join(dir, b.Name+".dsl"))
		if err != nil {
			t.Fatal(err)
		}
		for _, from := range []string{said, string(text)} {
			if lines := complaint.FindAllString(from, -1); lines != nil {
				t.Errorf("%s: iasl complains: %s", b.Name, strings.Join(lines, "; "))
			}
		}
		dsl[b.Name] = string(text)
	}
	// The DSDT's text compiles again: nothing in it contradicts the language.
	said := iasl(t, "-p", filepath.Join(dir, "again"), filepath.Join(dir, "DSDT.dsl"))
	if !strings.Contains(said, "0 Errors, 0 Warnings") {
		t.Errorf("recompiling the DSDT: %s", said)
	}
	return dsl
}

var space = regexp.MustCompile(`\s+`)

func TestDisassembly(t *testing.T) {
	cfg := pc(2)
	cfg.APICIDs = []uint32{0, 300}
	host := HostBridge{ECAM: 0xe0000000, Memory32: PCIWindow{0xe8000000, 0xf7ffffff}, Memory64: PCIWindow{0x200000000, 0x2ffffffff}}
	cfg.Devices = append(cfg.Devices, bridge{}, host)
	cfg.Tables = append(cfg.Tables, host.MCFG())
	tables, err := Build(cfg)
	if err != nil {
		t.Fatal(err)
	}
	dsl := disassemble(t, tables)
	for _, tc := range []struct{ table, want string }{
		{"FACP", "Revision : 06"},
		{"FACP", "8042 Present on ports 60/64 (V2) : 0"},
		{"FACP", "VGA Not Present (V4) : 1"},
		{"FACP", "CMOS RTC Not Present (V5) : 0"},
		{"FACP", "RTC Century Index : 32"},
		{"FACP", "Reset Register Supported (V2) : 1"},
		{"FACP", "Hardware Reduced (V5) : 1"},
		{"FACP", "Address : 0000000000000CF9"},
		{"FACP", "Value to cause reset : 06"},
		{"FACP", "Address : 0000000000000600"},
		{"FACP", "Address : 0000000000000601"},
		{"FACP", "Encoded Access Width : 01 [Byte Access:8]"},
		{"APIC", "Local Apic Address : FEE00000"},
		{"APIC", "PC-AT Compatibility : 0"},
		{"APIC", "[Processor Local APIC]"},
		{"APIC", "[Processor Local x2APIC]"},
		{"APIC", "Processor x2Apic ID : 0000012C"},
		{"APIC", "I/O Apic ID : 03"},
		{"APIC", "Address : FEC00000"},
		{"APIC", "[Local APIC NMI]"},
		{"APIC", "Interrupt Input LINT : 01"},
		{"XSDT", "ACPI Table Address 1"},
		{"DSDT", `Name (\_S5, Package (0x04) // _S5_: S5 System State { 0x05, 0x05, Zero, Zero })`},
		{"DSDT", `Scope (\_SB)`},
		{"DSDT", `Device (COM1) { Name (_HID, EisaId ("PNP0501") /* 16550A-compatible COM Serial Port */)`},
		{"DSDT", `IO (Decode16, 0x03F8, // Range Minimum 0x03F8, // Range Maximum 0x01, // Alignment 0x08, // Length )`},
		{"DSDT", `Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive, ,, ) { 0x00000004, }`},
		{"DSDT", `Device (RTC) { Name (_HID, EisaId ("PNP0B00") /* AT Real-Time Clock */)`},
		{"DSDT", `Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive, ,, ) { 0x00000008, }`},
		{"DSDT", `Name (_HID, "DBEL0001")`},
		{"DSDT", `Memory32Fixed (ReadWrite, 0xD0000000, // Address Base 0x00101000, // Address Length )`},
		{"DSDT", `Device (C000) { Name (_HID, "ACPI0007" /* Processor Device */) // _HID: Hardware ID Name (_UID, Zero)`},
		{"DSDT", `Device (C001) { Name (_HID, "ACPI0007" /* Processor Device */) // _HID: Hardware ID Name (_UID, One)`},
		{"DSDT", `WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode,`},
		{"DSDT", `WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,`},
		{"DSDT", `DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, Cacheable, ReadWrite,`},
		{"DSDT", `QWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, Cacheable, ReadWrite,`},
		{"DSDT", `0x0000004000000000, // Length`},
		{"DSDT", `IRQNoFlags () {5}`},
		{"DSDT", `Device (PCI0) { Name (_HID, EisaId ("PNP0A08") /* PCI Express Bus */)`},
		{"DSDT", `0xE8000000, // Range Minimum`},
		{"DSDT", `Memory32Fixed (ReadWrite, 0xE0000000, // Address Base 0x00100000, // Address Length )`},
		{"MCFG", `Base Address : 00000000E0000000`},
		{"MCFG", `End Bus Number : 00`},
	} {
		if !strings.Contains(space.ReplaceAllString(dsl[tc.table], " "), tc.want) {
			t.Errorf("%s: no %q in\n%s", tc.table, tc.want, dsl[tc.table])
		}
	}
	if strings.Contains(dsl["APIC"], "Interrupt Source Override") {
		t.Error("the MADT has an interrupt source override")
	}
}

func TestDisassemblyOf1024CPUs(t *testing.T) {
	tables, err := Build(pc(1024))
	if err != nil {
		t.Fatal(err)
	}
	dsl := disassemble(t, tables)
	if n := strings.Count(dsl["DSDT"], `"ACPI0007"`); n != 1024 {
		t.Errorf("the DSDT has %d processors, want 1024", n)
	}
	if !strings.Contains(dsl["DSDT"], "Device (C3FF)") {
		t.Error("the DSDT lacks processor C3FF")
	}
}

// TestEjector: the guest is told which device to let go of, and says when it has.
func TestEjector(t *testing.T) {
	cfg := pc(1)
	cfg.Devices = append(cfg.Devices, HostBridge{ECAM: 0xe0000000, Memory32: PCIWindow{0xe8000000, 0xf7ffffff}}, Ejector{GSI: 9, Devices: map[int]bool{8: true, 23: true}})
	tables, err := Build(cfg)
	if err != nil {
		t.Fatal(err)
	}
	dsl := disassemble(t, tables)["DSDT"]
	for _, want := range []string{
		`"ACPI0013"`, `OperationRegion \(REGS, SystemIO, 0x0608, 0x04\)`, `GONE,\s+32`,
		`Device \(S08\)`, `Name \(_ADR, 0x00080000\)`, `Name \(_ADR, 0x00170000\)`,
		`Method \(_EJ0, 1, Serialized\)[^{]*\{\s+\\_SB\.EJCT\.GONE = 0x00000100\b`, `GONE = 0x00800000`,
		`Method \(_EVT, 1, Serialized\)[^{]*\{\s+If \(\(GONE & 0x00000100\)\)\s+\{\s+Notify \(\\_SB\.PCI0\.S08, 0x03\)`,
	} {
		if !regexp.MustCompile(want).MatchString(dsl) {
			t.Errorf("no %s in\n%s", want, dsl)
		}
	}
}
