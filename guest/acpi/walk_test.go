package acpi

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"doorbell/guest/acpi/aml"
)

// pc is the machine doorbell builds, with vCPUs numbered from 0.
func pc(cpus int) Config {
	cfg := Config{
		IOAPICID: 3,
		Devices: []Device{
			Serial{Name: "COM1", UID: 0, Port: 0x3f8, GSI: 4},
			RTC{Port: 0x70, GSI: 8},
			Mailbox{Base: 0xd0000000, Size: 0x101000},
		},
	}
	for i := range cpus {
		cfg.APICIDs = append(cfg.APICIDs, uint32(i))
	}
	return cfg
}

// memory is guest memory as a guest reads it: by address only.
type memory map[uint64]byte

func load(t *testing.T, tables Tables) memory {
	t.Helper()
	m := memory{}
	for _, b := range tables.Blobs {
		for i, c := range b.Data {
			at := b.GPA + uint64(i)
			if at < RegionStart || at >= RegionEnd {
				t.Fatalf("%s has a byte at 0x%x, outside the BIOS area", b.Name, at)
			}
			if _, taken := m[at]; taken {
				t.Fatalf("%s overlaps another table at 0x%x", b.Name, at)
			}
			m[at] = c
		}
	}
	return m
}

func (m memory) bytes(t *testing.T, at, n uint64) []byte {
	t.Helper()
	out := make([]byte, n)
	for i := range out {
		c, ok := m[at+uint64(i)]
		if !ok {
			t.Fatalf("nothing at 0x%x", at+uint64(i))
		}
		out[i] = c
	}
	return out
}

func sum(b []byte) (s byte) {
	for _, c := range b {
		s += c
	}
	return s
}

// table reads the table at an address and verifies its checksum.
func (m memory) table(t *testing.T, at uint64) (signature string, data []byte) {
	t.Helper()
	h := m.bytes(t, at, 36)
	data = m.bytes(t, at, uint64(binary.LittleEndian.Uint32(h[4:])))
	if sum(data) != 0 {
		t.Errorf("%s: bytes sum to %#x, want 0", h[:4], sum(data))
	}
	return string(h[:4]), data
}

// walk does what a guest's ACPI code does: RSDP, XSDT, its tables, and the
// DSDT through the FADT.
func walk(t *testing.T, tables Tables) map[string][]byte {
	t.Helper()
	m := load(t, tables)
	r := m.bytes(t, tables.RSDP, 36)
	if string(r[:8]) != "RSD PTR " || tables.RSDP%16 != 0 {
		t.Fatalf("RSDP at 0x%x reads %q", tables.RSDP, r[:8])
	}
	if sum(r[:20]) != 0 || sum(r) != 0 {
		t.Errorf("RSDP checksums: first 20 bytes sum to %#x, all to %#x", sum(r[:20]), sum(r))
	}
	if r[15] != 2 {
		t.Errorf("RSDP revision %d, want 2", r[15])
	}
	sig, root := m.table(t, binary.LittleEndian.Uint64(r[24:]))
	if sig != "XSDT" {
		t.Fatalf("RSDP points to %q, want the XSDT", sig)
	}
	found := map[string][]byte{"XSDT": root}
	for p := root[36:]; len(p) > 0; p = p[8:] {
		sig, data := m.table(t, binary.LittleEndian.Uint64(p))
		found[sig] = data
	}
	f, ok := found["FACP"]
	if !ok {
		t.Fatal("the XSDT lists no FADT")
	}
	at := binary.LittleEndian.Uint64(f[140:])
	if low := binary.LittleEndian.Uint32(f[40:]); uint64(low) != at {
		t.Errorf("FADT: DSDT %#x and X_DSDT %#x differ", low, at)
	}
	if sig, found["DSDT"] = m.table(t, at); sig != "DSDT" {
		t.Errorf("FADT points to %q, want the DSDT", sig)
	}
	return found
}

func TestWalk(t *testing.T) {
	cfg := pc(2)
	cfg.Tables = []Table{{Signature: "MCFG", Revision: 1, Body: make([]byte, 8+16)}}
	tables, err := Build(cfg)
	if err != nil {
		t.Fatal(err)
	}
	found := walk(t, tables)
	for _, sig := range []string{"XSDT", "FACP", "APIC", "DSDT", "MCFG"} {
		if found[sig] == nil {
			t.Errorf("no %s", sig)
		}
	}
	if len(found) != 5 {
		t.Errorf("%d tables, want 5", len(found))
	}
}

// A MADT entry decoded for comparison.
func madtEntries(t *testing.T, data []byte) []string {
	t.Helper()
	var out []string
	for p := data[44:]; len(p) > 0; {
		n := int(p[1])
		if n < 2 || n > len(p) {
			t.Fatalf("MADT entry of type %d has length %d, %d bytes are left", p[0], n, len(p))
		}
		switch e := p[:n]; e[0] {
		case 0:
			out = append(out, fmt.Sprintf("lapic uid=%d id=%d", e[2], e[3]))
		case 1:
			out = append(out, fmt.Sprintf("ioapic id=%d at=%#x gsi=%d", e[2],
				binary.LittleEndian.Uint32(e[4:]), binary.LittleEndian.Uint32(e[8:])))
		case 4:
			out = append(out, fmt.Sprintf("nmi uid=%#x lint%d", e[2], e[5]))
		case 9:
			out = append(out, fmt.Sprintf("x2apic uid=%d id=%d",
				binary.LittleEndian.Uint32(e[12:]), binary.LittleEndian.Uint32(e[4:])))
		case 10:
			out = append(out, fmt.Sprintf("x2nmi uid=%#x lint%d", binary.LittleEndian.Uint32(e[4:]), e[8]))
		default:
			t.Errorf("MADT entry of type %d", e[0])
		}
		p = p[n:]
	}
	return out
}

func TestMADT(t *testing.T) {
	for _, tc := range []struct {
		ids  []uint32
		want string
	}{
		{[]uint32{0}, "lapic uid=0 id=0; ioapic id=3 at=0xfec00000 gsi=0; nmi uid=0xff lint1"},
		{[]uint32{0, 2, 254}, "lapic uid=0 id=0; lapic uid=1 id=2; lapic uid=2 id=254; " +
			"ioapic id=3 at=0xfec00000 gsi=0; nmi uid=0xff lint1"},
		{[]uint32{0, 254, 255, 70000}, "lapic uid=0 id=0; lapic uid=1 id=254; x2apic uid=2 id=255; " +
			"x2apic uid=3 id=70000; ioapic id=3 at=0xfec00000 gsi=0; nmi uid=0xff lint1; x2nmi uid=0xffffffff lint1"},
	} {
		cfg := pc(0)
		cfg.APICIDs = tc.ids
		tables, err := Build(cfg)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(madtEntries(t, walk(t, tables)["APIC"]), "; ")
		if got != tc.want {
			t.Errorf("APIC IDs %v:\n got %s\nwant %s", tc.ids, got, tc.want)
		}
	}
}

// The region has room for 1024 vCPUs beside 32 devices of 100 bytes: a PCI
// bridge and everything else that may come.
func TestRoomFor1024CPUs(t *testing.T) {
	tables, err := Build(pc(1024))
	if err != nil {
		t.Fatal(err)
	}
	found := walk(t, tables)
	if n := len(madtEntries(t, found["APIC"])); n != 1024+3 {
		t.Errorf("%d MADT entries, want 1024 processors, an IOAPIC and two NMI entries", n)
	}
	last := tables.Blobs[len(tables.Blobs)-1]
	used := last.GPA + uint64(len(last.Data)) - RegionStart
	t.Logf("1024 vCPUs: %d of %d bytes", used, RegionEnd-RegionStart)
	if left := RegionEnd - RegionStart - used; left < 32*100 {
		t.Errorf("%d bytes left of the region, want at least 3200", left)
	}
}

type bulk int

func (b bulk) AML() []byte { return aml.Name("BULK", aml.Buffer(make([]byte, b))) }

func TestErrors(t *testing.T) {
	cfg := func(f func(*Config)) Config {
		c := pc(2)
		f(&c)
		return c
	}
	for _, tc := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"none", pc(0), "acpi: no vCPUs"},
		{"names run out", pc(4097), "acpi: 4097 vCPUs, at most 4096 can be named"},
		{"region runs out", pc(4000), "acpi: tables for 4000 vCPUs take"},
		{"big device", cfg(func(c *Config) { c.Devices = append(c.Devices, bulk(1<<17)) }), "acpi: tables for 2 vCPUs take"},
		{"twice", cfg(func(c *Config) { c.APICIDs = []uint32{0, 0} }), "acpi: APIC ID 0 of vCPU 1 does not follow 0"},
		{"broadcast", cfg(func(c *Config) { c.APICIDs[1] = 0xffffffff }), "acpi: APIC ID 0xffffffff of vCPU 1 is reserved"},
		{"signature", cfg(func(c *Config) { c.Tables = []Table{{Signature: "MCF"}} }), `acpi: table signature "MCF"`},
	} {
		_, err := Build(tc.cfg)
		if err == nil || !strings.HasPrefix(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want %q", tc.name, err, tc.want)
		}
	}
}
