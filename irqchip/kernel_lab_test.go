//go:build lab

package irqchip_test

import (
	"encoding/binary"
	"runtime"
	"testing"
	"time"

	"doorbell/internal/kvm"
	"doorbell/internal/ledger"
	"doorbell/irqchip"
)

// TestLineReachesTheLAPIC: a raised line goes through its irqfd and its GSI's route into the IRR of the vCPU.
func TestLineReachesTheLAPIC(t *testing.T) {
	sys, err := kvm.Open("/dev/kvm")
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
	chip, err := irqchip.NewKernel(vm, caps)
	if err != nil {
		t.Fatal(err)
	}
	defer chip.Close()
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
