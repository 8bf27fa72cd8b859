//go:build lab

package tests

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"doorbell/internal/report"
)

// TestBoot is the README's claim: Debian's kernel, two vCPUs, our agent, power-off, and an account whose sums balance.
func TestBoot(t *testing.T) {
	guestTest(t, func(t testing.TB) {
		o, d := boot(t, "", "-c", "2", "-m", "512M")
		o.want(t, 0, o.stdout, "doorbell-agent: userspace", "2 CPUs online")
		v := d.VM
		if v.VCPUs != 2 || v.IRQChip != "kernel" || v.MemoryBytes != 512<<20 || v.End != "powered off" {
			t.Errorf("vm: %d vCPUs, irqchip %s, %d bytes, %s", v.VCPUs, v.IRQChip, v.MemoryBytes, v.End)
		}
		if d.Guest == nil || d.Guest.CPUsOnline == nil || *d.Guest.CPUsOnline != 2 {
			t.Fatalf("guest: %+v", d.Guest)
		}
		balance(t, d)
		if v.BootToUserspaceS == nil || *v.BootToUserspaceS <= 0 {
			t.Error("boot_to_userspace_s was not measured")
		}
		if v.RSSBeyondGuestBytes == nil || *v.RSSBeyondGuestBytes == 0 {
			t.Error("rss_beyond_guest_bytes was not measured")
		}
		if e := d.Environment; e.Backend == "" || e.Kernel == "" || e.CPU == "" || len(e.Capabilities) == 0 {
			t.Errorf("environment: %+v", e)
		}
	})
}

// balance checks that an account's sums agree with each other.
func balance(t testing.TB, d *report.Document) {
	t.Helper()
	v := d.VM
	if v.ExitsTotal == nil {
		t.Fatal("exits_total was not measured")
	}
	total := int64(*v.ExitsTotal)
	var byReason, byVCPU, rows, perVCPU int64
	for _, n := range v.ExitsByReason {
		byReason += n
	}
	for _, c := range v.ExitsByVCPU {
		byVCPU += int64(c.Exits)
		var sum int64
		for _, n := range c.ByReason {
			sum += n
		}
		perVCPU += sum
		if sum != int64(c.Exits) {
			t.Errorf("vCPU %d: reasons sum to %d, exits are %d", c.VCPU, sum, c.Exits)
		}
	}
	for _, r := range v.ExitRows {
		rows += r.Count
	}
	if byReason != total || byVCPU != total || rows != total || perVCPU != total {
		t.Errorf("exits_total %d; by reason %d, by vCPU %d, rows %d", total, byReason, byVCPU, rows)
	}
	if total == 0 {
		t.Error("a boot without an exit")
	}
	var userspace uint64
	for _, r := range v.UserspaceExits {
		userspace += r.Count
	}
	if want := v.UserspaceReasons["io"] + v.UserspaceReasons["mmio"] + v.UserspaceReasons["x86_rdmsr"] + v.UserspaceReasons["x86_wrmsr"]; userspace != want {
		t.Errorf("userspace_exits sum to %d, KVM_RUN returned io, mmio and MSRs %d times", userspace, want)
	}
	if v.ExitsSource != "kvm_exit tracepoint" {
		t.Errorf("exits_by_reason comes from %s; the lab has the tracepoint", v.ExitsSource)
	}
}

// TestInterruptsAreTheGuests: the rows are /proc/interrupts', per CPU, and the serial port's count is what the ledger's line
// accounts for: an edge is delivered once, or merges with one that waits.
func TestInterruptsAreTheGuests(t *testing.T) {
	guestTest(t, func(t testing.TB) {
		o, d := boot(t, "", "-c", "2")
		o.want(t, 0, o.stdout)
		var serial, timer uint64
		for _, r := range d.Guest.Interrupts {
			if len(r.PerCPU) > 2 {
				t.Errorf("row %s has %d columns", r.IRQ, len(r.PerCPU))
			}
			switch {
			case r.Name == "ttyS0":
				serial = r.Total
				if r.Chip != "IO-APIC" {
					t.Errorf("ttyS0 is on %s", r.Chip)
				}
			case r.IRQ == "LOC":
				timer = r.Total
			}
		}
		var raised uint64
		for _, l := range d.VM.Lines {
			if l.Device == "com1" {
				raised = l.Raised
			}
		}
		if serial == 0 || serial > raised {
			t.Errorf("the guest saw %d serial interrupts, doorbell raised %d", serial, raised)
		}
		if timer == 0 {
			t.Error("no timer interrupt")
		}
	})
}

// TestExitBudget is the promise that a boot with one vCPU takes at most 10,000 exits, 2,000 of them nested page faults.
func TestExitBudget(t *testing.T) {
	guestTest(t, func(t testing.TB) {
		o, d := boot(t, "", "-c", "1")
		o.want(t, 0, o.stdout, "1 CPU online")
		balance(t, d)
		if n := *d.VM.ExitsTotal; n > 10000 {
			t.Errorf("%d exits", n)
		}
		if n := d.VM.ExitsByReason["npf"] + d.VM.ExitsByReason["ept_violation"]; n > 2000 || n == 0 {
			t.Errorf("%d nested page faults", n)
		}
		if n := *d.VM.RSSBeyondGuestBytes; n > 25<<20 {
			t.Errorf("%d bytes resident beyond the guest's", n)
		}
	})
}

func TestFourVCPUs(t *testing.T) {
	guestTest(t, func(t testing.TB) {
		o, d := boot(t, "", "-c", "4")
		o.want(t, 0, o.stdout, "4 CPUs online")
		if *d.Guest.CPUsOnline != 4 || len(d.VM.ExitsByVCPU) != 4 {
			t.Errorf("%d CPUs online, %d rows of vCPUs", *d.Guest.CPUsOnline, len(d.VM.ExitsByVCPU))
		}
		balance(t, d)
	})
}

// TestMemoryBeyondTheHole: 5 GiB are 3 below 4 GiB and 2 above.
func TestMemoryBeyondTheHole(t *testing.T) {
	guestTest(t, func(t testing.TB) {
		o, d := boot(t, "", "-m", "5G")
		o.want(t, 0, o.stdout)
		if m := d.Guest.Details.MemoryBytes; m < 4700<<20 {
			t.Errorf("the guest has %d bytes of memory", m)
		}
	})
}

// TestOwnEntry: a kernel whose payload doorbell cannot unpack is entered at the bzImage's own 64-bit entry, and unpacks itself.
func TestOwnEntry(t *testing.T) {
	guestTest(t, func(t testing.TB) {
		image, err := os.ReadFile(filepath.Join(os.Getenv("DOORBELL_GUEST"), "kernel"))
		if err != nil {
			t.Fatal(err)
		}
		const payloadLength = 0x24c // setup header (boot.rst); only loaders read it, the kernel has its own copy
		copy(image[payloadLength:], []byte{4, 0, 0, 0})
		path := filepath.Join(t.TempDir(), "bzImage")
		if err := os.WriteFile(path, image, 0o644); err != nil {
			t.Fatal(err)
		}
		o, d := boot(t, "", "-k", path)
		o.want(t, 0, o.stdout, "doorbell-agent: userspace")
		if !strings.Contains(d.VM.Kernel, "64-bit entry") {
			t.Errorf("the kernel was loaded as %s", d.VM.Kernel)
		}
	})
}

func TestMeasureBoot(t *testing.T) {
	guestTest(t, func(t testing.TB) {
		o := doorbell(t, "", "measure", "boot", "--host", "here", "--report", "json")
		o.want(t, 0, o.stderr)
		var d report.Document
		if err := json.Unmarshal([]byte(o.stdout), &d); err != nil {
			t.Fatalf("%v in:\n%s", err, o.stdout)
		}
		if len(d.Experiments) != 1 || d.Experiments[0].Name != "boot" || len(d.Experiments[0].Rows) == 0 || d.Experiments[0].Finding == "" {
			t.Errorf("experiments: %+v", d.Experiments)
		}
		exits := 0.0 // at the phase before
		for _, r := range d.Experiments[0].Rows {
			if n, known := r["exits"].(float64); r["kind"] == "phase" && known {
				if n < exits {
					t.Errorf("phase %v: %v exits, %v before it", r["phase"], n, exits)
				}
				exits = n
			}
			if r["kind"] == "phase" && r["at_s"] != nil && d.Environment.Emulated {
				t.Errorf("a time of an emulated clock: %v", r)
			}
		}
		if exits == 0 {
			t.Error("no phase has exits")
		}
		all := map[string]any{}
		for _, r := range d.Experiments[0].Rows {
			if r["kind"] == "exits_of_all_boots" && r["reason"] == "all" {
				all = r
			}
		}
		median, _ := all["exits"].(float64)
		low, _ := all["exits_low"].(float64)
		if high, _ := all["exits_high"].(float64); low <= 0 || median < low || high < median || d.Experiments[0].Parameters["rounds"] != 3.0 {
			t.Errorf("exits of all boots: %v; %v", all, d.Experiments[0].Parameters)
		}
		if o := doorbell(t, "", "measure", "--list"); !strings.Contains(o.stdout, "boot") {
			t.Errorf("--list: %s", o.stdout)
		}
	})
}
