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
	s := startSession(t, userLink(), trafficWorkload, "-c", fmt.Sprint(vcpus), "--irqchip", chip, "--vectors")
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
	vectorAccount(t, d)
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

// vectorAccount checks that the rows of the vectors add up.
func vectorAccount(t testing.TB, d *report.Document) {
	t.Helper()
	v := d.VM
	const localTimer = 0xec // LOCAL_TIMER_VECTOR (arch/x86/include/asm/irq_vectors.h)
	timers := map[int]uint64{}
	var delivered, kvmInterrupt uint64
	for _, r := range v.Interrupts.Vectors {
		if r.Raised == nil || r.Delivered == nil || r.EOIs == nil {
			t.Fatalf("vCPU %d vector %#x: a figure was not measured", r.VCPU, r.Vector)
		}
		delivered += *r.Delivered
		if r.Vector == localTimer {
			timers[r.VCPU] = *r.Delivered
		}
		if v.IRQChip == irqchip.UserName {
			if waits := int64(*r.Raised) - int64(*r.Coalesced+*r.Delivered+*r.Dropped); waits < 0 || waits > 1 {
				t.Errorf("vCPU %d vector %#x: %d raised; %d coalesced, %d delivered, %d dropped", r.VCPU, r.Vector, *r.Raised, *r.Coalesced, *r.Delivered, *r.Dropped)
			}
		}
		// A handler is cut off by the guest's end, but in kernel and split a vector may also be the PICs', which has no EOI at the local APIC.
		if *r.EOIs > *r.Delivered || v.IRQChip == irqchip.UserName && *r.Delivered-*r.EOIs > 1 {
			t.Errorf("vCPU %d vector %#x: %d delivered, %d EOIs", r.VCPU, r.Vector, *r.Delivered, *r.EOIs)
		}
	}
	for id := range v.VCPUs {
		if timers[id] == 0 {
			t.Errorf("vCPU %d had no interrupt of its timer", id)
		}
	}
	for _, k := range v.Interrupts.Kicks {
		kvmInterrupt += k.Injected
		if k.Signals+k.Wakeups > k.Asked {
			t.Errorf("%+v", k)
		}
	}
	if v.IRQChip == irqchip.UserName && kvmInterrupt != delivered {
		t.Errorf("%d vectors delivered, %d given to KVM", delivered, kvmInterrupt)
	}
	if v.VCPUs > 1 && len(v.Interrupts.IPIs) == 0 {
		t.Error("no IPI")
	}
}
