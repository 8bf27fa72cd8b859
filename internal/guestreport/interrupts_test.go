package guestreport

import (
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func sample(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestInterruptRows(t *testing.T) {
	tests := []struct {
		file string
		cpus []int
		want []Interrupt
	}{
		{"host.interrupts", []int{0, 1}, []Interrupt{
			{IRQ: "26", Chip: "IO-APIC", HWIRQ: "4", Trigger: "edge", Name: "ttyS0", PerCPU: []uint64{0, 15}, Total: 15},
			{IRQ: "28", Chip: "PCI-MSIX-0000:00:01.0", HWIRQ: "0", Trigger: "edge", Name: "virtio0-config", PerCPU: []uint64{0, 0}},
			{IRQ: "NMI", Name: "Non-maskable interrupts", PerCPU: []uint64{0, 0}},
			{IRQ: "ERR", PerCPU: []uint64{}},
		}},
		{"offline.interrupts", []int{0, 2, 3}, []Interrupt{
			{IRQ: "0", Chip: "IO-APIC", HWIRQ: "2", Trigger: "edge", Name: "timer", PerCPU: []uint64{43, 0, 0}, Total: 43},
			{IRQ: "16", Chip: "IO-APIC", HWIRQ: "16", Trigger: "fasteoi", Name: "ehci_hcd:usb1, ath9k", PerCPU: []uint64{0, 0, 30}, Total: 30},
			{IRQ: "25", Chip: "PCI-MSI", HWIRQ: "524288", Trigger: "edge", Name: "enp3s0", PerCPU: []uint64{0, 3214, 0}, Total: 3214},
			{IRQ: "26", Chip: "IR-PCI-MSIX-0000:00:04.0", HWIRQ: "1", Trigger: "edge", Name: "virtio2-input.0", PerCPU: []uint64{7, 8, 9}, Total: 24},
			{IRQ: "LOC", Name: "Local timer interrupts", PerCPU: []uint64{10000, 20000, 30000}, Total: 60000},
			{IRQ: "ERR", PerCPU: []uint64{}, Total: 5},
			{IRQ: "MIS", PerCPU: []uint64{}, Total: 6},
			{IRQ: "PIN", Name: "Posted-interrupt notification event", PerCPU: []uint64{0, 0, 0}},
		}},
		{"arm64.interrupts", []int{0, 1}, []Interrupt{
			{IRQ: "11", Chip: "GICv3", HWIRQ: "27", Trigger: "Level", Name: "arch_timer", PerCPU: []uint64{8001, 7777}, Total: 15778},
			{IRQ: "50", Chip: "ITS-MSI-0000:00:01.0", HWIRQ: "0", Trigger: "Edge", Name: "virtio0-config", PerCPU: []uint64{0, 0}},
			{IRQ: "IPI1", Name: "Function call interrupts", PerCPU: []uint64{1313, 1488}, Total: 2801},
			{IRQ: "Err", PerCPU: []uint64{}},
		}},
		{"xen.interrupts", []int{0}, []Interrupt{
			{IRQ: "0", Chip: "xen-percpu", Trigger: "virq", Name: "timer0", PerCPU: []uint64{16000}, Total: 16000},
			{IRQ: "2", Chip: "None", PerCPU: []uint64{0}},
			{IRQ: "3", Chip: "-", HWIRQ: "3", Name: "rtc0", PerCPU: []uint64{4}, Total: 4},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			text := sample(t, tt.file)
			got, err := ParseInterrupts(text)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got.CPUs, tt.cpus) {
				t.Errorf("CPUs %v, want %v", got.CPUs, tt.cpus)
			}
			if want := strings.Count(strings.TrimSpace(text), "\n"); len(got.Rows) != want {
				t.Errorf("%d rows, want %d", len(got.Rows), want)
			}
			for _, want := range tt.want {
				row := got.Row(want.IRQ)
				if row == nil {
					t.Errorf("row %s is missing", want.IRQ)
				} else if diff := cmp.Diff(want, *row); diff != "" {
					t.Errorf("row %s (-want +got):\n%s", want.IRQ, diff)
				}
			}
		})
	}
}

// One CPU makes a per-CPU row look like a row of the whole machine; only the
// description tells them apart.
func TestInterruptsOneCPU(t *testing.T) {
	got, err := ParseInterrupts("           CPU0       \n NMI:          7   Non-maskable interrupts\n ERR:          8\n")
	if err != nil {
		t.Fatal(err)
	}
	if row := got.Row("NMI"); len(row.PerCPU) != 1 || row.PerCPU[0] != 7 {
		t.Errorf("NMI is %+v, want 7 on CPU 0", row)
	}
	if row := got.Row("ERR"); len(row.PerCPU) != 0 || row.Total != 8 {
		t.Errorf("ERR is %+v, want 8 for the machine", row)
	}
}

func TestInterruptErrors(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"empty", "", "names no CPU"},
		{"no header", "  1:  0  IO-APIC\n", `has "1:" where`},
		{"columns swapped", "CPU1 CPU0\n", "CPU0 out of order"},
		{"too few counts", "CPU0 CPU1\n 4:  9  IO-APIC 4-edge ttyS0\n", `row "4" has 1 counts for 2 CPUs`},
		{"no label", "CPU0\nnonsense\n", "does not start with a label"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseInterrupts(tt.text)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestInterruptsSince(t *testing.T) {
	before, err := ParseInterrupts("CPU0 CPU2\n 4: 10 20 IO-APIC 4-edge ttyS0\n 5: 1 1 IO-APIC 5-edge gone\nLOC: 4294967290 5 Local timer interrupts\nERR: 3\n")
	if err != nil {
		t.Fatal(err)
	}
	after, err := ParseInterrupts("CPU0 CPU1 CPU2\n 4: 11 7 25 IO-APIC 4-edge ttyS0\n 6: 1 2 3 PCI-MSI 6-edge new\nLOC: 4 6 5 Local timer interrupts\nERR: 4\n")
	if err != nil {
		t.Fatal(err)
	}
	delta := after.Since(&before)
	got := map[string][]uint64{}
	for _, row := range delta.Rows {
		got[row.IRQ] = append(append([]uint64{}, row.PerCPU...), row.Total)
	}
	want := map[string][]uint64{
		"4":   {1, 7, 5, 13},
		"6":   {1, 2, 3, 6},
		"LOC": {10, 6, 0, 16}, // CPU 0's counter of 32 bits wrapped
		"ERR": {1},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What show_interrupts prints comes back, whatever is in it.
func TestInterruptsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var want Interrupts
		ids := rapid.SliceOfNDistinct(rapid.IntRange(0, 500), 1, 9, rapid.ID[int]).Draw(t, "cpus")
		for i := range 501 {
			for _, id := range ids {
				if id == i {
					want.CPUs = append(want.CPUs, i)
				}
			}
		}
		text := "     "
		for _, id := range want.CPUs {
			text += "      CPU" + strconv.Itoa(id)
		}
		text += "\n"
		for n := range rapid.IntRange(0, 6).Draw(t, "rows") {
			row := Interrupt{
				IRQ:     strconv.Itoa(n * 3),
				Chip:    rapid.SampledFrom([]string{"IO-APIC", "PCI-MSIX-0000:00:1f.7", "XT-PIC"}).Draw(t, "chip"),
				HWIRQ:   strconv.Itoa(rapid.IntRange(0, 1<<20).Draw(t, "hwirq")),
				Trigger: rapid.SampledFrom([]string{"edge", "fasteoi"}).Draw(t, "trigger"),
				Name:    rapid.SampledFrom([]string{"", "ttyS0", "a, b", "eth0-rx 1"}).Draw(t, "name"),
			}
			text += "  " + row.IRQ + ":"
			for range want.CPUs {
				c := uint64(rapid.Uint32().Draw(t, "count"))
				row.PerCPU = append(row.PerCPU, c)
				row.Total += c
				text += "   " + strconv.FormatUint(c, 10)
			}
			text += "   " + row.Chip + "   " + row.HWIRQ + "-" + row.Trigger + "   " + row.Name + "\n"
			want.Rows = append(want.Rows, row)
		}
		got, err := ParseInterrupts(text)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s\n%s", diff, text)
		}
		for _, row := range got.Since(&got).Rows {
			if row.Total != 0 {
				t.Errorf("row %s changed by %d against itself", row.IRQ, row.Total)
			}
		}
	})
}

func FuzzParseInterrupts(f *testing.F) {
	for _, name := range []string{"host", "offline", "arm64", "xen"} {
		f.Add(sample(f, name+".interrupts"))
	}
	f.Fuzz(func(t *testing.T, text string) {
		table, err := ParseInterrupts(text)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r") {
				t.Errorf("error has more than one line: %q", err)
			}
			return
		}
		for _, row := range table.Rows {
			if len(row.PerCPU) != 0 && len(row.PerCPU) != len(table.CPUs) {
				t.Errorf("row %q has %d counts for %d CPUs", row.IRQ, len(row.PerCPU), len(table.CPUs))
			}
		}
		empty := Interrupts{}
		if got := table.Since(&empty); len(got.Rows) != len(table.Rows) {
			t.Errorf("%d rows against nothing, want %d", len(got.Rows), len(table.Rows))
		}
		table.Since(&table)
	})
}
