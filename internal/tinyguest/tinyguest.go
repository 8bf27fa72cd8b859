// Package tinyguest makes machines that run a few bytes of 64-bit code: for probing what a KVM backend can do, and for tests
// of exits. There is no kernel, no interrupt descriptor table and no stack to speak of.
//
// The guests have KVM's irqchip although they take no interrupt: a vCPU without one flips a static key in KVM, and the patching
// of running code is what an emulated host is worst at (QEMU 7.2 may run stale code on its other processor and hang).
package tinyguest

import (
	"encoding/binary"
	"errors"

	"doorbell/guest"
	"doorbell/guest/memory"
	"doorbell/internal/kvm"
	"doorbell/internal/ledger"
	"doorbell/vcpu"
)

// Guest-physical places: page tables that map the first 2 MiB one to one, the code, and a page that is the code's to use.
const (
	pml4, pdpt, pd = 0x1000, 0x2000, 0x3000
	Code           = 0x4000
	Data           = 0x5000
	stackTop       = 0x8000
	memorySize     = 2 << 20
)

// Guest is a machine with one vCPU that has not run yet.
type Guest struct {
	VM     *kvm.VM
	CPU    *vcpu.CPU
	Memory *memory.Memory
	Ledger *ledger.Ledger
}

// New makes a guest that will run code, and whose exits bus answers, except that a write to EndPort stops it.
func New(sys *kvm.System, code []byte, bus vcpu.Bus) (_ *Guest, err error) {
	g := &Guest{Ledger: ledger.New(1)}
	defer func() {
		if err != nil {
			g.Close()
		}
	}()
	if g.VM, err = sys.CreateVM(); err != nil {
		return nil, err
	}
	if err := g.VM.CreateIRQChip(); err != nil {
		return nil, err
	}
	if g.Memory, err = memory.New(memorySize); err != nil {
		return nil, err
	}
	if err := g.fill(code); err != nil {
		return nil, err
	}
	if err := g.VM.SetUserMemory(0, 0, 0, g.Memory.Regions()[0].Host); err != nil {
		return nil, err
	}
	cpuid, err := sys.SupportedCPUID()
	if err != nil {
		return nil, err
	}
	entry := guest.NewEntry(Code)
	entry.CR3, entry.RSP = pml4, stackTop
	g.CPU, err = vcpu.New(vcpu.Config{VM: g.VM, Bus: &ender{bus, g}, Ledger: g.Ledger, Memory: g.Memory, Setup: func(c *kvm.VCPU) error {
		return errors.Join(c.SetCPUID(vcpu.CPUID(cpuid, vcpu.Topology{VCPUs: 1, X2APIC: true}, 0)), vcpu.Enter(c, entry))
	}})
	return g, err
}

// EndPort is the port whose write ends the guest: "out 0xf5, al" is e6 f5.
const EndPort = 0xf5

// ender is a bus with the end port.
type ender struct {
	vcpu.Bus
	g *Guest
}

// Port implements vcpu.Bus.
func (e *ender) Port(id int, port uint16, size int, write bool, p []byte) {
	if port == EndPort && write {
		e.g.CPU.Stop()
		return
	}
	e.Bus.Port(id, port, size, write, p)
}

// fill writes page tables and code (Intel SDM volume 3, 4.5: present, writable, and in the directory large).
func (g *Guest) fill(code []byte) error {
	const present, writable, large = 1 << 0, 1 << 1, 1 << 7
	var errs []error
	for _, e := range []struct{ at, entry uint64 }{
		{pml4, pdpt | present | writable}, {pdpt, pd | present | writable}, {pd, present | writable | large},
	} {
		errs = append(errs, g.Memory.WriteAt(binary.LittleEndian.AppendUint64(nil, e.entry), e.at))
	}
	return errors.Join(append(errs, g.Memory.WriteAt(code, Code))...)
}

// Close releases the machine; its vCPU must have stopped or never have run.
func (g *Guest) Close() {
	if g.CPU != nil {
		g.CPU.Close()
	}
	if g.VM != nil {
		g.VM.Close()
	}
	if g.Memory != nil {
		g.Memory.Close()
	}
}
