package report

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"doorbell/internal/guestreport"
	"doorbell/internal/ledger"
	"doorbell/vmm"
)

func TestParseTargets(t *testing.T) {
	for spec, want := range map[string][]Target{
		"text":             {{Format: Text}},
		"json=r.json":      {{Format: JSON, Path: "r.json"}},
		"json=a=b.json":    {{Format: JSON, Path: "a=b.json"}},
		"text,json=r.json": {{Format: Text}, {Format: JSON, Path: "r.json"}},
		"none":             {{Format: None}},
	} {
		got, err := ParseTargets(spec)
		if err != nil || len(got) != len(want) {
			t.Errorf("%q: %v, %v", spec, got, err)
			continue
		}
		for i := range got {
			if *got[i] != want[i] {
				t.Errorf("%q: %+v, want %+v", spec, *got[i], want[i])
			}
		}
	}
	for _, spec := range []string{"", "xml", "json=", "none=x", "text,,json", "json=r.json,"} {
		if ts, err := ParseTargets(spec); err == nil {
			t.Errorf("%q: %v", spec, ts)
		}
	}
}

// sample is a small document with everything that the text shows.
func sample() *Document {
	total, online := uint64(30), 2
	return &Document{
		VM: &vmm.Account{
			VCPUs: 2, MemoryBytes: 512 << 20, IRQChip: "kernel", EndReason: "powered off by x", ExitsTotal: &total,
			ExitsByReason: map[string]int64{"io": 20, "other": 10},
			ExitRows: []vmm.ExitRow{
				{VCPU: 0, Reason: "io", Count: 20, Source: "kvm_exit tracepoint"}, {VCPU: 1, Reason: "other", Count: 10, Source: "rest"}},
			ExitsByVCPU:    []vmm.VCPUExits{{VCPU: 0, Exits: 20, ByReason: map[string]int64{"io": 20}}, {VCPU: 1, Exits: 10, ByReason: map[string]int64{"other": 10}}},
			UserspaceExits: []ledger.AccessRow{{Device: "com1", Register: "THR", Direction: "write", Width: 1, Count: 20}},
			Missing:        map[string]string{"boot_to_userspace_s": "no agent"},
		},
		Guest: &Guest{Kernel: "6.1", CPUsOnline: &online, CPUs: []int{0, 1}, Interrupts: []guestreport.Interrupt{
			{IRQ: "4", Chip: "IO-APIC", Name: "tty\x1b[2JS0", PerCPU: []uint64{1, 2}, Total: 3},
			{IRQ: "ERR", Name: "errors", Total: 1},
			{IRQ: "9", Name: "silent", PerCPU: []uint64{0, 0}},
		}},
	}
}

func TestText(t *testing.T) {
	var b strings.Builder
	sample().Text(&b)
	text := b.String()
	for _, want := range []string{"CPU0  CPU1", "tty?[2JS0", "errors", "vCPU0  vCPU1  total", "kvm_exit tracepoint", "other", "com1", "THR", "no agent", "2 CPUs online"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in:\n%s", want, text)
		}
	}
	if strings.Contains(text, "silent") || strings.Contains(text, "\x1b") {
		t.Errorf("rows without a count, or a guest's escape sequences, in:\n%s", text)
	}
}

// TestInterruptTables: a vector is one line whatever the number of vCPUs, and what was not counted is a dash and not a zero.
func TestInterruptTables(t *testing.T) {
	n := func(v uint64) *uint64 { return &v }
	d := sample()
	d.VM.Interrupts = ledger.Interrupts{
		Vectors: []ledger.VectorRow{
			{VCPU: 0, Vector: 0x24, Path: "KVM's local APIC", Raised: n(10), Delivered: n(9), EOIs: n(9), EOIsWithoutExit: n(4)},
			{VCPU: 1, Vector: 0x24, Path: "KVM's local APIC", Raised: n(5), Delivered: n(5), EOIs: n(5), EOIsWithoutExit: n(1)},
		},
		IPIs:  []ledger.IPIRow{{Mode: "fixed", Destination: "self", Count: 77}},
		Pins:  []ledger.PinRow{{Pin: 20, Vector: 0x31, Trigger: "level", Raised: 3, Delivered: n(25000), Throttled: n(2), EOIExits: n(25000)}},
		PICs:  []ledger.PICRow{{IRQ: 4, Raised: 8, Acknowledged: 7, EOIs: 6}},
		Kicks: []ledger.KickRow{{VCPU: 1, Asked: 100, Signals: 40, Wakeups: 20, EINTR: 39, Windows: 11, Injected: 60}},
	}
	var b strings.Builder
	d.Text(&b)
	var lines []string
	for _, l := range strings.Split(b.String(), "\n") {
		lines = append(lines, strings.Join(strings.Fields(l), " "))
	}
	for _, want := range []string{
		"What became of each vector (KVM's local APIC)", "0x24 15 - - 14 - 14 5 1.64 0 1", "fixed self 77", "20 0x31 level 3 25000 - - - - 25000 - 2", "4 8 7 6", "1 100 40 20 39 11 60",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("no line %q in:\n%s", want, b.String())
		}
	}
}

// TestExperimentTable: an experiment without a machine of its own is a sentence, its table, and what is missing with the reason.
func TestExperimentTable(t *testing.T) {
	d := &Document{Experiments: []Experiment{{
		Name: "modes", Finding: "split exits more", Missing: map[string]string{"user": "it broke"},
		Table: &Table{Columns: []string{"", "kernel", "split"}, Rows: [][]string{{"VM exits", "100", "120"}}},
	}}}
	var b strings.Builder
	d.Text(&b)
	for _, want := range []string{"modes: split exits more\n", "kernel  split\n", "VM exits     100    120\n", "it broke"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in:\n%s", want, b.String())
		}
	}
}

// TestCardFeatures: a user who compares a feature on and off sees what the driver made of it.
func TestCardFeatures(t *testing.T) {
	packed := "packed"
	for want, n := range map[string]vmm.NetAccount{
		"Rings: packed. Features in use: csum ring_packed; offered, but not taken: guest_uso4; off: event_idx\n": {
			Ring: &packed, Offered: []string{"CSUM", "RING_PACKED", "GUEST_USO4"}, Features: []string{"CSUM", "RING_PACKED"}, Off: []string{"EVENT_IDX"}},
		"Rings: packed. Features in use: ring_packed\n": {Ring: &packed, Offered: []string{"RING_PACKED"}, Features: []string{"RING_PACKED"}},
		"No driver negotiated its features.\n":          {Offered: []string{"CSUM"}},
	} {
		d := sample()
		d.VM.Net = &n
		var b strings.Builder
		d.Text(&b)
		if !strings.Contains(b.String(), "\n"+want) {
			t.Errorf("%q is not in:\n%s", want, b.String())
		}
	}
}

func TestJSONNamesItsMembers(t *testing.T) {
	b, err := json.Marshal(sample())
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]map[string]any
	var whole map[string]any
	if err := json.Unmarshal(b, &whole); err != nil {
		t.Fatal(err)
	}
	m = map[string]map[string]any{"vm": whole["vm"].(map[string]any), "guest": whole["guest"].(map[string]any), "environment": whole["environment"].(map[string]any)}
	for member, names := range map[string][]string{
		"vm":          {"vcpus", "irqchip", "boot_to_userspace_s", "exits_total", "exits_by_reason", "exits_by_vcpu", "userspace_exits", "rss_beyond_guest_bytes", "not_measured"},
		"guest":       {"cpus_online", "interrupts"},
		"environment": {"backend", "emulated", "kernel", "cpu", "capabilities"},
	} {
		for _, n := range names {
			if _, ok := m[member][n]; !ok {
				t.Errorf("%s.%s is missing", member, n)
			}
		}
	}
	row := m["vm"]["userspace_exits"].([]any)[0].(map[string]any)
	for _, n := range []string{"device", "register", "direction", "width", "count"} {
		if _, ok := row[n]; !ok {
			t.Errorf("userspace_exits rows have no %s", n)
		}
	}
}

// TestWriteIsWholeOrNothing: a report replaces the old one when it is whole, and a target that is given up leaves nothing.
func TestWriteIsWholeOrNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "r.json")
	if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	given := &Target{Format: JSON, Path: path}
	if err := given.Open(); err != nil {
		t.Fatal(err)
	}
	given.Discard()
	if b, _ := os.ReadFile(path); string(b) != "old" {
		t.Errorf("a target given up left %q", b)
	}
	written := &Target{Format: JSON, Path: path}
	if err := written.Open(); err != nil {
		t.Fatal(err)
	}
	if err := written.Write(sample(), nil); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(path); !json.Valid(b) {
		t.Errorf("the report is no JSON:\n%s", b)
	}
	if names, _ := os.ReadDir(dir); len(names) != 1 {
		t.Errorf("left behind: %v", names)
	}
	if err := (&Target{Format: JSON, Path: "/nonexistent/r.json"}).Open(); err == nil || !strings.Contains(err.Error(), "/nonexistent/r.json") {
		t.Errorf("%v does not name the file", err)
	}
}

// TestLinksStayLinks: what a symbolic link leads to is replaced, the link is not; /dev/stdout and its like are written in place.
func TestLinksStayLinks(t *testing.T) {
	dir := t.TempDir()
	real, link := filepath.Join(dir, "real.json"), filepath.Join(dir, "link.json")
	if err := os.WriteFile(real, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real.json", link); err != nil {
		t.Fatal(err)
	}
	write := func(path string) {
		t.Helper()
		target := &Target{Format: JSON, Path: path}
		if err := target.Open(); err != nil {
			t.Fatal(err)
		}
		if err := target.Write(sample(), nil); err != nil {
			t.Fatal(err)
		}
	}
	write(link)
	if b, _ := os.ReadFile(real); !json.Valid(b) {
		t.Errorf("the link's file holds %q", b)
	}
	if st, _ := os.Lstat(link); st.Mode()&os.ModeSymlink == 0 {
		t.Error("the link was replaced")
	}

	f, err := os.Create(filepath.Join(dir, "open.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	descriptor := filepath.Join(dir, "descriptor")
	if err := os.Symlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), descriptor); err != nil {
		t.Fatal(err)
	}
	write(descriptor)
	if b, _ := os.ReadFile(f.Name()); !json.Valid(b) {
		t.Errorf("the open file holds %q", b)
	}
	if st, _ := os.Lstat(descriptor); st.Mode()&os.ModeSymlink == 0 {
		t.Error("the descriptor's name was replaced")
	}
}
