//go:build lab

package tests

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"doorbell/internal/report"
	"doorbell/internal/traffic"
	"doorbell/internal/traffic/wire"
	"doorbell/irqchip"
)

// TestControllers: Debian's kernel with 1, 2 and 4 vCPUs boots, moves traffic and powers off on each of the three interrupt controllers, and cannot
// tell them apart: its rows of /proc/interrupts are alike.
func TestControllers(t *testing.T) {
	for _, vcpus := range []int{1, 2, 4} {
		rows := map[string][]string{} // by controllers
		for _, chip := range irqchip.Names {
			t.Run(fmt.Sprintf("%s/%d", chip, vcpus), func(t *testing.T) {
				guestTest(t, func(t testing.TB) { rows[chip] = controllersTest(t, chip, vcpus) })
			})
		}
		for _, chip := range irqchip.Names[1:] {
			if want := rows[irqchip.Names[0]]; !slices.Equal(rows[chip], want) {
				t.Errorf("%d vCPUs: the guest's rows are %q on %s, %q on %s", vcpus, rows[chip], chip, want, irqchip.Names[0])
			}
		}
	}
}

// pin is a row of a device's interrupt: PCI-MSI's number within its chip is the device's address, a wire's is the pin.
var pin = regexp.MustCompile(`^(IO-APIC|PCI-MSI)`)

func controllersTest(t testing.TB, chip string, vcpus int) []string {
	const each = 2 << 20
	s := startSession(t, userLink(), trafficWorkload, "-c", fmt.Sprint(vcpus), "--irqchip", chip)
	cpus := make([]int, vcpus)
	for i := range cpus {
		cpus[i] = i
	}
	o := traffic.StreamOptions{Placement: traffic.Placement{Flows: vcpus, CPUs: cpus}, BytesPerFlow: each, Check: wire.CheckSHA256}
	up := need[traffic.StreamResult](s)(s.StreamUp(s.ctx, o))
	down := need[traffic.StreamResult](s)(s.StreamDown(s.ctx, o))
	if want := uint64(vcpus) * each; up.Bytes != want || down.Bytes != want {
		t.Errorf("%d bytes up, %d down, of %d", up.Bytes, down.Bytes, want)
	}
	var rows []string
	seen := map[string]uint64{}
	for _, r := range s.snapshot().Interrupts.Rows {
		if pin.MatchString(r.Chip) {
			rows = append(rows, strings.Join([]string{r.IRQ, r.Chip, r.Name}, " "))
			seen[r.Chip] += r.Total
		}
	}
	if seen["IO-APIC"] == 0 || seen["PCI-MSI"] == 0 {
		t.Errorf("interrupts by chip: %v", seen)
	}
	slices.Sort(rows)
	o2, d := s.end()
	o2.want(t, 0, o2.stdout)
	if d.VM.IRQChip != chip || d.VM.VCPUs != vcpus || d.VM.End != "powered off" {
		t.Errorf("%s, %d vCPUs, %s", d.VM.IRQChip, d.VM.VCPUs, d.VM.End)
	}
	balance(t, d)
	controllersAccount(t, d)
	return rows
}

// TestXAPICMode: a guest that keeps to the registers' page works on our local APICs as well; each access is an MMIO exit.
func TestXAPICMode(t *testing.T) {
	guestTest(t, func(t testing.TB) {
		o, d := boot(t, "", "-c", "2", "--irqchip", irqchip.UserName, "-p", quiet+"nox2apic")
		o.want(t, 0, o.stdout, "2 CPUs online")
		balance(t, d)
		exits := map[string]uint64{}
		for _, r := range d.VM.UserspaceExits {
			if r.Device == "lapic" || r.Device == "x2apic" {
				exits[r.Device+" "+r.Register] += r.Count
			}
		}
		if exits["lapic EOI"] == 0 || exits["lapic ICR"] == 0 || exits["x2apic EOI"] > 0 {
			t.Errorf("exits by register: %v", exits)
		}
	})
}

// controllersAccount checks who answered for the controllers: exits to their registers show whose they are.
func controllersAccount(t testing.TB, d *report.Document) {
	t.Helper()
	exits := map[string]uint64{}
	for _, r := range d.VM.UserspaceExits {
		exits[r.Device] += r.Count
	}
	for device, ours := range map[string]bool{
		"ioapic": d.VM.IRQChip != irqchip.KernelName, "x2apic": d.VM.IRQChip == irqchip.UserName,
	} {
		if n := exits[device]; n > 0 != ours {
			t.Errorf("%s: %d exits to the %s's registers", d.VM.IRQChip, n, device)
		}
	}
}
