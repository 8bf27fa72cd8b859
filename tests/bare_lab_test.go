//go:build lab

package tests

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"doorbell/internal/report"
	"doorbell/irqchip"
)

// bareImage is the path of a bare guest, which `make bare` builds.
func bareImage(name string) string {
	dir := os.Getenv("DOORBELL_BARE")
	if dir == "" {
		dir = "/usr/share/doorbell/bare" // in the lab: see LAB in the Makefile
	}
	return filepath.Join(dir, name+".flat")
}

// bare boots a bare guest that ends by the exit port.
func bare(t testing.TB, name, arguments string, args ...string) (outcome, *report.Document) {
	t.Helper()
	return boot(t, "", append([]string{"-k", bareImage(name), "--testdev", "--net", "none", "-p", arguments}, args...)...)
}

// passed is the status of a guest that wrote 0 to the exit port.
const passed = 1

// TestMultibootStatus: a Multiboot image finds its command line, its module and the memory map, and its status is (value << 1) | 1.
func TestMultibootStatus(t *testing.T) {
	module := filepath.Join(t.TempDir(), "module.txt")
	if err := os.WriteFile(module, []byte("what the module says"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, value := range []int{0, 1, 21, 127} {
		o, d := bare(t, "status", fmt.Sprintf("%d and more words", value), "-i", module, "-m", "64M")
		o.want(t, (value<<1|1)&0xff, o.stdout,
			fmt.Sprintf("command line: %s %d and more words", bareImage("status"), value),
			"loader: doorbell; lower 639 KiB, upper 64512 KiB", "memory: 0x100000, 0x3f00000 bytes, type 1",
			"module "+module+": 20 bytes, page offset 0: what the module says")
		if d.VM.End != "exited" || d.VM.Kernel != "Multiboot image (ELF32)" || !strings.Contains(d.VM.EndReason, fmt.Sprintf("wrote %#x to the exit port: status %d", value, value<<1|1)) {
			t.Errorf("%s: %s, %s", d.VM.End, d.VM.EndReason, d.VM.Kernel)
		}
		balance(t, d)
	}
}

// TestNoTestDevices: without --testdev nothing ends the guest, and nothing reads back.
func TestNoTestDevices(t *testing.T) {
	_, d := boot(t, "", "--net", "none")
	for _, r := range d.VM.UserspaceExits {
		if r.Device == "testdev" || r.Device == "fw_cfg" || r.Device == "pci-testdev" {
			t.Errorf("%+v", r)
		}
	}
}

// TestBareGuests: what Linux does not do with its interrupt controllers, on all three: wires by edge and level, the PICs and the PIT; every kind of
// IPI; INIT and SIPI; a storm; and what no guest should do.
func TestBareGuests(t *testing.T) {
	for _, g := range []struct {
		name, arguments, vcpus string
		check                  func(t testing.TB, d *report.Document)
	}{
		{"ports", "3", "3", nil},
		{"pins", "", "1", nil},
		{"pins", "", "2", nil},
		{"smp", "", "1", nil},
		{"smp", "", "2", nil},
		{"smp", "", "4", nil},
		{"storm", "25000", "1", stormAccount},
		{"hostile", "20000", "2", nil},
	} {
		for _, chip := range irqchip.Names {
			t.Run(g.name+"/"+g.vcpus+"/"+chip, func(t *testing.T) {
				guestTest(t, func(t testing.TB) {
					arguments := g.arguments
					switch {
					case g.name == "pins" && chip == irqchip.KernelName:
						arguments = "0" // see pins.c
					case g.name == "hostile" && chip != irqchip.UserName:
						// KVM patches its own code when a guest switches its local APIC, which an emulated host does not survive for long.
						arguments += " 0"
					}
					o, d := bare(t, g.name, arguments, "-c", g.vcpus, "--irqchip", chip, "--vectors")
					if chip != irqchip.UserName && lostIPI.MatchString(o.stdout) {
						// KVM's own, from one vCPU to another: doorbell has no part in it. See README on what QEMU's emulation loses.
						died(t, "an IPI did not arrive")
					}
					o.want(t, passed, o.stdout, "PASS")
					balance(t, d)
					if g.check != nil {
						g.check(t, d)
					}
				})
			})
		}
	}
}

// lostIPI is what smp says of an IPI that did not come in half a minute; one that came twice is another fault, for which no test is made again.
var lostIPI = regexp.MustCompile(`(?m)^LOST .*IPI`)

// stormAccount: the IOAPIC counts the storm, and how often it let the guest come to itself. Each EOI of split is an exit.
func stormAccount(t testing.TB, d *report.Document) {
	t.Helper()
	const pin, interrupts = 20, 25000
	for _, p := range d.VM.Interrupts.Pins {
		if p.Pin != pin {
			continue
		}
		if p.Throttled == nil || *p.Throttled < 2 {
			t.Errorf("the storm was not throttled: %+v", p)
		}
		if d.VM.IRQChip == irqchip.KernelName {
			return
		}
		if p.Trigger != "level" || *p.Delivered != interrupts || *p.EOIs != interrupts || *p.Redelivered+*p.Throttled != interrupts-1 {
			t.Errorf("%d delivered, %d EOIs, %d redelivered, %d throttled", *p.Delivered, *p.EOIs, *p.Redelivered, *p.Throttled)
		}
		if d.VM.IRQChip == irqchip.SplitName && (p.EOIExits == nil || *p.EOIExits != interrupts || d.VM.UserspaceReasons["ioapic_eoi"] != interrupts) {
			t.Errorf("%d exits by reason, %v by pin", d.VM.UserspaceReasons["ioapic_eoi"], p.EOIExits)
		}
		return
	}
	t.Errorf("no pin %d: %+v", pin, d.VM.Interrupts.Pins)
}

// TestBareBadInput: what is no image that can be booted is refused in one line.
func TestBareBadInput(t *testing.T) {
	good, err := os.ReadFile(bareImage("status"))
	if err != nil {
		t.Fatal(err)
	}
	large := filepath.Join(t.TempDir(), "large")
	if err := errors.Join(os.WriteFile(large, nil, 0o644), os.Truncate(large, 32<<20)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(b []byte) []byte
		args   []string
		want   string
	}{
		"truncated":   {func(b []byte) []byte { return b[:5000] }, nil, "beyond the file's end"},
		"video":       {func(b []byte) []byte { return flags(b, 7) }, nil, "asks for a video mode"},
		"unknown":     {func(b []byte) []byte { return flags(b, 1<<9) }, nil, "requires what is not known here: flags 0x200"},
		"too big":     {func(b []byte) []byte { return b }, []string{"-m", "16M", "-i", large}, "does not fit in 16 MiB of guest memory"},
		"no argument": {func(b []byte) []byte { return b }, []string{"-p", strings.Repeat("x", 70000)}, "-p: 70000 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "k.flat")
			if err := os.WriteFile(path, c.change(append([]byte(nil), good...)), 0o644); err != nil {
				t.Fatal(err)
			}
			o := doorbell(t, "", append([]string{"boot", "--host", "here", "--testdev", "--net", "none", "-k", path}, c.args...)...)
			if o.status != 1 && o.status != 2 || strings.Count(o.stderr, "\n") != 1 || !strings.Contains(o.stderr, c.want) {
				t.Errorf("status %d: %s", o.status, o.stderr)
			}
		})
	}
}

// flags changes the Multiboot header's flags, and its checksum with them.
func flags(b []byte, flags uint32) []byte {
	for at := 0; at+12 <= len(b); at += 4 {
		if binary.LittleEndian.Uint32(b[at:]) == 0x1badb002 {
			binary.LittleEndian.PutUint32(b[at+4:], flags)
			binary.LittleEndian.PutUint32(b[at+8:], -(0x1badb002 + flags))
			return b
		}
	}
	return b
}
