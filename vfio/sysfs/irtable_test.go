package sysfs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What Linux 6.12 shows of a virtio-net function with three vectors, and of one that is posted (Documentation/ABI/testing/debugfs-iommu-intel).
const irTableText = `Remapped Interrupt supported on IOMMU: dmar0
 IR table address:100200000
 Entry SrcID   DstID    Vct IRTE_high		IRTE_low
 1     ff:00.0 00000000 30  000000000004ff00	0000000000300009
 22    00:02.0 00000000 26  0000000000040010	0000000000260009
 24    00:04.0 00000100 20  0000000000040020	0000010000200009
 23    00:04.0 00000100 21  0000000000040020	0000010000210009
****
Posted Interrupt supported on IOMMU: dmar1
 IR table address:100300000
 Entry SrcID   PDA_high PDA_low  Vct IRTE_high		IRTE_low
 4     43:00.0 00000001 4fe45380 91  0000000100044300	4fe4538000918001
 junk
****
`

const irqText = `handler:  handle_edge_irq
domain:  IR-PCI-MSIX-0000:00:04.0-12
 hwirq:   0x1
 parent:
    domain:  INTEL-IR-0-13
     hwirq:   0x180000
     chip:    INTEL-IR
`

func TestIRTable(t *testing.T) {
	h := Host{Root: t.TempDir()}
	if _, err := h.IRTable(); err == nil || !strings.Contains(err.Error(), "CONFIG_INTEL_IOMMU_DEBUGFS") {
		t.Errorf("without debugfs: %v", err)
	}
	for name, text := range map[string]string{irTable: irTableText, irqDomains + "/31": irqText} {
		path := h.path(name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	rows, err := h.IRTable()
	if err != nil {
		t.Fatal(err)
	}
	first := IRTE{"dmar0", 24, "00:04.0", false, 0x20, 0x100}
	second := IRTE{"dmar0", 23, "00:04.0", false, 0x21, 0x100}
	want := []IRTE{{"dmar0", 1, "ff:00.0", false, 0x30, 0}, {"dmar0", 22, "00:02.0", false, 0x26, 0}, first, second, {"dmar1", 4, "43:00.0", true, 0x91, 0x14fe45380}}
	if d := cmp.Diff(want, rows); d != "" {
		t.Error(d)
	}
	a, err := ParseAddress("0000:00:04.0")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		irq, vector int
		want        *IRTE
	}{{31, 1, &first}, {32, 1, &second}, {32, 0, &first}, {32, 2, nil}} {
		if d := cmp.Diff(c.want, h.EntryOf(rows, a, c.irq, c.vector)); d != "" {
			t.Errorf("IRQ %d, vector %d: %s", c.irq, c.vector, d)
		}
	}
}

func FuzzIRTable(f *testing.F) {
	f.Add(irTableText)
	f.Fuzz(func(t *testing.T, text string) {
		for _, r := range parseIRTable(text) {
			if r.IOMMU == "" || r.Source == "" || r.Entry < 0 {
				t.Errorf("%+v", r)
			}
		}
	})
}
