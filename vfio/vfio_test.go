package vfio

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"doorbell/internal/pci"
)

func TestHostIRQs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "interrupts")
	text := `           CPU0       CPU1
  0:         29          0  IR-IO-APIC    2-edge      timer
 20:          5          7  IR-IO-APIC   20-fasteoi   uhci_hcd, vfio-intx(0000:00:05.0)
 27:          3          4  IR-PCI-MSI 65536-edge      vfio-msix[0](0000:00:04.0)
 28:      12345     700000  IR-PCI-MSI 65538-edge      vfio-msix[2](0000:00:04.0)
 29:          1          1  IR-PCI-MSI 65538-edge      vfio-msix[3](0000:00:05.0)
 30:          9          0  IR-PCI-MSI 65538-edge      vfio-msi[1](0000:00:04.0)
NMI:          0          0  Non-maskable interrupts
ERR:          0
`
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	where := filepath.Join(filepath.Dir(path), "irq", "28")
	if err := os.MkdirAll(where, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(where, "effective_affinity_list"), []byte("2-3\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		address string
		index   int
		want    map[int]HostIRQ
	}{
		{"0000:00:04.0", irqMSIX, map[int]HostIRQ{0: {27, 7, "IR-PCI-MSI", "", nil}, 2: {28, 712345, "IR-PCI-MSI", "2-3", nil}}},
		{"0000:00:04.0", irqMSI, map[int]HostIRQ{1: {30, 9, "IR-PCI-MSI", "", nil}}},
		{"0000:00:05.0", irqINTx, map[int]HostIRQ{0: {20, 12, "IR-IO-APIC", "", nil}}},
		{"0000:00:06.0", irqMSIX, map[int]HostIRQ{}},
	} {
		got, err := hostIRQs(path, c.address, c.index)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s %s: %v, %v; want %v", c.address, irqName(c.index), got, err, c.want)
		}
	}
}

// TestMappable: the pages of the table and the pending bits are not the guest's memory; all others that the device lets be mapped are.
func TestMappable(t *testing.T) {
	const k = 1 << 10
	for _, c := range []struct {
		table, pba area
		areas      []area
		want       []area
	}{
		{area{}, area{}, []area{{0, 16 * k}}, []area{{0, 16 * k}}},
		{area{0x2000, 0x100}, area{0x2800, 8}, []area{{0, 16 * k}}, []area{{0, 8 * k}, {12 * k, 4 * k}}},
		{area{0, 16}, area{0x3ff8, 8}, []area{{0, 16 * k}}, []area{{4 * k, 8 * k}}},
		{area{0xff8, 16}, area{}, []area{{0, 16 * k}}, []area{{8 * k, 8 * k}}}, // a table over a page's end
		{area{0, 2048 * 16}, area{}, []area{{0, 32 * k}}, nil},
		{area{}, area{}, []area{{0x10, 8 * k}, {12 * k, 100}}, []area{{4 * k, 4 * k}}}, // whole pages only
		{area{}, area{}, nil, nil},
		{area{}, area{}, []area{{0, 4 * k}, {8 * k, 4 * k}}, []area{{0, 4 * k}, {8 * k, 4 * k}}}, // sparse
	} {
		b := bar{table: c.table, pba: c.pba}
		if got := b.mappable(c.areas); !reflect.DeepEqual(got, c.want) {
			t.Errorf("table %v, pending bits %v, areas %v: %v, want %v", c.table, c.pba, c.areas, got, c.want)
		}
	}
}

// TestSplit: an access over the end of a range reaches each part's owner with its own bytes.
func TestSplit(t *testing.T) {
	type call struct {
		inside bool
		off    uint64
		n      int
	}
	for _, c := range []struct {
		off  uint64
		n    int
		want []call
	}{
		{0x10, 4, []call{{true, 0, 4}}},
		{0xe, 4, []call{{false, 0xe, 2}, {true, 0, 2}}},
		{0x1e, 8, []call{{true, 0xe, 2}, {false, 0x20, 6}}},
		{0x1f, 1, []call{{true, 0xf, 1}}},
	} {
		var got []call
		new(bar).split(area{0x10, 0x10}, c.off, make([]byte, c.n),
			func(off uint64, p []byte) { got = append(got, call{true, off, len(p)}) },
			func(off uint64, p []byte) { got = append(got, call{false, off, len(p)}) })
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%d bytes at %#x: %v, want %v", c.n, c.off, got, c.want)
		}
	}
}

func TestSparseAreas(t *testing.T) {
	le := binary.LittleEndian
	b := make([]byte, 32)
	b = append(b, le.AppendUint16(nil, 3)...) // MSIX_MAPPABLE
	b = append(b, 1, 0)
	b = le.AppendUint32(b, 40)
	b = append(b, le.AppendUint16(nil, capSparseMmap)...)
	b = append(b, 1, 0)
	b = le.AppendUint32(b, 0)
	b = le.AppendUint32(b, 2)
	b = le.AppendUint32(b, 0)
	for _, v := range []uint64{0, 4096, 8192, 4096} {
		b = le.AppendUint64(b, v)
	}
	got, ok := sparseAreas(b, 32)
	if want := []area{{0, 4096}, {8192, 4096}}; !ok || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v", got, ok)
	}
	if got, ok := sparseAreas(b[:len(b)-8], 32); !ok || len(got) != 1 {
		t.Errorf("a list that is cut off: %v", got)
	}
	le.PutUint32(b[36:], 32) // a loop
	if _, ok := sparseAreas(b, 32); ok {
		t.Error("an answer from a loop")
	}
}

// FuzzConfigSpace: whatever a device's configuration space says, its capabilities lie within it and do not overlap what is looked at.
func FuzzConfigSpace(f *testing.F) {
	good := make([]byte, 256)
	good[regCapabilities] = 0x40
	copy(good[0x40:], []byte{pci.CapMSIX, 0x50, 5, 0, 4, 0, 0, 0, 4, 8, 0, 0})
	copy(good[0x50:], []byte{pci.CapExpress, 0x90, 0x02, 0})
	copy(good[0x90:], []byte{pci.CapVendorSpecific, 0xb0, 16, 1})
	copy(good[0xb0:], []byte{pci.CapMSI, 0xc8, 0x8a, 1})
	copy(good[0xc8:], []byte{pci.CapPowerManagement, 0x40, 0, 0})
	f.Add(good)
	f.Fuzz(func(t *testing.T, b []byte) {
		var c configSpace
		copy(c[:], b)
		seen := map[int]bool{}
		for _, k := range c.capabilities() {
			if seen[k.at] || k.at < 0x40 || k.at%4 != 0 || k.at >= len(c) {
				t.Fatalf("capability at %#x", k.at)
			}
			seen[k.at] = true
			if n := c.length(k); n != 0 && (n < 4 || k.at+n > len(c)) {
				t.Fatalf("capability %#x at %#x has %d bytes", k.id, k.at, n)
			}
			if k.at+4 <= len(c) {
				if form := c.msiForm(k.at); form.Vectors < 1 || form.Vectors > 32 {
					t.Fatalf("%+v", form)
				}
			}
			if n, p, err := c.msixPlace(k.at); err == nil && (n < 1 || n > pci.MaxVectors || p.TableOffset%8 != 0) {
				t.Fatalf("%d vectors at %+v", n, p)
			}
		}
		p := Passed{config: c, function: pci.NewFunction("f", c.identity())}
		for _, k := range c.capabilities() {
			if n := c.length(k); n > 0 {
				_ = p.pass(k, n) // capabilities that overlap are refused
			}
		}
	})
}
