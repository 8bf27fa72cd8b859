//go:build lab

package irqchip_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"doorbell/internal/kvm"
	"doorbell/internal/ledger"
	"doorbell/internal/pci"
	"doorbell/irqchip"
)

// newMachine is a machine with KVM's controllers and no vCPU.
func newMachine(t *testing.T) (*kvm.VM, irqchip.Chip) {
	t.Helper()
	sys, err := kvm.Open("/dev/kvm")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sys.Close() })
	caps, err := sys.Capabilities()
	if err != nil {
		t.Fatal(err)
	}
	vm, err := sys.CreateVM()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { vm.Close() })
	chip, err := irqchip.New(irqchip.Config{Name: irqchip.KernelName, VM: vm, Caps: caps, VCPUs: 2, Ledger: ledger.New(2), Warn: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { chip.Close() })
	return vm, chip
}

// TestKernelFallsBackToSplit: a host without an in-kernel IOAPIC gives the split controllers, and says so; one without those either is refused.
func TestKernelFallsBackToSplit(t *testing.T) {
	sys, err := kvm.Open(kvm.Device)
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Close()
	caps, err := sys.Capabilities()
	if err != nil {
		t.Fatal(err)
	}
	vm, err := sys.CreateVM()
	if err != nil {
		t.Fatal(err)
	}
	defer vm.Close()
	var said []string
	c := irqchip.Config{Name: irqchip.KernelName, VM: vm, Caps: caps.Without(kvm.CapIRQChip, kvm.CapSplitIRQChip), VCPUs: 1, Ledger: ledger.New(1),
		Warn: func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }}
	var lacks *kvm.NotSupportedError
	if chip, err := irqchip.New(c); !errors.As(err, &lacks) || chip != nil {
		t.Fatalf("%v, %v", chip, err)
	}
	c.Caps = caps.Without(kvm.CapIRQChip)
	chip, err := irqchip.New(c)
	if err != nil {
		t.Fatal(err)
	}
	defer chip.Close()
	if chip.Name() != irqchip.SplitName || len(said) != 1 || !strings.Contains(said[0], "the machine gets the split controllers") {
		t.Errorf("%s: %q", chip.Name(), said)
	}
}

// TestSplitInterruptAllocatesNothing: a wire's interrupt is a system call and nothing else.
func TestSplitInterruptAllocatesNothing(t *testing.T) {
	sys, err := kvm.Open(kvm.Device)
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Close()
	caps, err := sys.Capabilities()
	if err != nil {
		t.Fatal(err)
	}
	vm, err := sys.CreateVM()
	if err != nil {
		t.Fatal(err)
	}
	defer vm.Close()
	book := ledger.New(1)
	chip, err := irqchip.New(irqchip.Config{Name: irqchip.SplitName, VM: vm, Caps: caps, VCPUs: 1, Ledger: book, Warn: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	defer chip.Close()
	cpu, err := vm.CreateVCPU(0)
	if err != nil {
		t.Fatal(err)
	}
	defer cpu.Close()
	regs, err := cpu.LAPIC()
	if err != nil {
		t.Fatal(err)
	}
	binary.LittleEndian.PutUint32(regs.Regs[0xf0:], 1<<8|0xff) // SVR: software-enabled
	if err := cpu.SetLAPIC(&regs); err != nil {
		t.Fatal(err)
	}
	const pin, vector = 20, 0x71
	for _, r := range chip.Registers() {
		if r.Name == "ioapic" {
			r.Device.Write(0, []byte{0x10 + 2*pin})
			r.Device.Write(0x10, []byte{vector, 0, 0, 0})
		}
	}
	line, err := chip.NewLine(pin, book.AddLine("test", pin))
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, line.Raise); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if regs, err = cpu.LAPIC(); err != nil || binary.LittleEndian.Uint32(regs.Regs[0x200+vector/32*16:])>>(vector%32)&1 == 0 {
		t.Errorf("the vector is not in the IRR (%v)", err)
	}
}

// TestLineReachesTheLAPIC: a raised line goes through its irqfd and its GSI's route into the IRR of the vCPU.
func TestLineReachesTheLAPIC(t *testing.T) {
	vm, chip := newMachine(t)
	cpu, err := vm.CreateVCPU(0)
	if err != nil {
		t.Fatal(err)
	}
	defer cpu.Close()
	const svr, irr = 0xf0, 0x200 // spurious-interrupt vector register; the first of eight request registers
	regs, err := cpu.LAPIC()
	if err != nil {
		t.Fatal(err)
	}
	binary.LittleEndian.PutUint32(regs.Regs[svr:], 1<<8|0xff)
	if err := cpu.SetLAPIC(&regs); err != nil {
		t.Fatal(err)
	}
	// The IOAPIC's pins are masked after reset, so that a route of our own stands for what a guest would program.
	const gsi, vector = 20, 0x71
	if err := vm.SetGSIRouting([]kvm.Route{{MSI: &kvm.MSIRoute{GSI: gsi, AddressLo: 0xfee00000, Data: vector}}}); err != nil {
		t.Fatal(err)
	}
	book := ledger.New(1)
	line, err := chip.NewLine(gsi, book.AddLine("test", gsi))
	if err != nil {
		t.Fatal(err)
	}
	line.Raise()
	for deadline := time.Now().Add(10 * time.Second); ; runtime.Gosched() {
		if regs, err = cpu.LAPIC(); err != nil {
			t.Fatal(err)
		}
		if binary.LittleEndian.Uint32(regs.Regs[irr+vector/32*16:])>>(vector%32)&1 != 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the vector does not wait in the IRR")
		}
	}
	if book.Lines()[0].Raised != 1 {
		t.Errorf("ledger %+v", book.Lines())
	}
}

// TestVectorReachesTheLAPIC: what is fired while a vector is disconnected stays in its eventfd and arrives when it is connected, by the
// route of that moment; what is fired while it is connected arrives at once.
func TestVectorReachesTheLAPIC(t *testing.T) {
	vm, chip := newMachine(t)
	var cpus []*kvm.VCPU
	for id := range 2 {
		cpu, err := vm.CreateVCPU(id)
		if err != nil {
			t.Fatal(err)
		}
		defer cpu.Close()
		regs, err := cpu.LAPIC()
		if err != nil {
			t.Fatal(err)
		}
		binary.LittleEndian.PutUint32(regs.Regs[0xf0:], 1<<8|0xff) // SVR: software-enabled
		if err := cpu.SetLAPIC(&regs); err != nil {
			t.Fatal(err)
		}
		cpus = append(cpus, cpu)
	}
	pending := func(cpu int, vector uint8) bool {
		regs, err := cpus[cpu].LAPIC()
		if err != nil {
			t.Fatal(err)
		}
		return binary.LittleEndian.Uint32(regs.Regs[0x200+int(vector)/32*16:])>>(vector%32)&1 != 0
	}
	// A connected eventfd with a count in it is taken from a workqueue.
	arrives := func(cpu int, vector uint8) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); !pending(cpu, vector); runtime.Gosched() {
			if time.Now().After(deadline) {
				t.Fatalf("vector %#x is not in the IRR of vCPU %d", vector, cpu)
			}
		}
	}
	to := func(cpu int, vector uint8) pci.Message {
		return pci.Message{Address: 0xfee00000 | uint64(cpu)<<12, Data: uint32(vector)}
	}
	v, err := chip.NewVector("test", 0)
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(chip.SetRoutes([]pci.Route{{Vector: v, Message: to(0, 0x41)}}))
	v.Fire()
	v.Fire()
	if pending(0, 0x41) {
		t.Fatal("a masked vector was delivered")
	}
	must(chip.SetRoutes([]pci.Route{{Vector: v, Message: to(1, 0x42)}}))
	must(v.Connect())
	arrives(1, 0x42)
	if n := v.Take(); n != 0 {
		t.Errorf("%d firings are still in the eventfd", n)
	}
	must(v.Disconnect())
	must(chip.SetRoutes([]pci.Route{{Vector: v, Message: to(0, 0x43)}}))
	must(v.Connect())
	v.Fire()
	arrives(0, 0x43)
	must(v.Disconnect())
	v.Fire()
	if n := v.Take(); n != 1 {
		t.Errorf("%d firings are pending, want 1", n)
	}
	chip.Release([]pci.Vector{v})
	must(chip.Remove(v))
	if pending(0, 0x41) || pending(0, 0x42) || pending(1, 0x43) {
		t.Error("a message went elsewhere")
	}
}
