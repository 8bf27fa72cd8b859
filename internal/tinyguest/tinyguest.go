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
	"doorbell/irqchip"
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

// maxVCPUs is how many vCPUs a guest has at most.
const maxVCPUs = 3

// Guest is a machine with one vCPU, or up to three, that have not run yet.
type Guest struct {
	VM     *kvm.VM
	Chip   irqchip.Chip // interrupt controllers that are not KVM's; nil if they are
	CPU    *vcpu.CPU
	Second *vcpu.CPU // nil: there is one
	Third  *vcpu.CPU // nil: there are two
	Memory *memory.Memory
	Ledger *ledger.Ledger
}

// New makes a guest that will run code, and whose exits bus answers, except that a write to EndPort stops it.
func New(sys *kvm.System, code []byte, bus vcpu.Bus) (*Guest, error) {
	return build(sys, code, bus, "")
}

// build is New with interrupt controllers by the names of package irqchip; an empty one is KVM's without its PIT.
func build(sys *kvm.System, code []byte, bus vcpu.Bus, chip string) (*Guest, error) {
	return buildWith(sys, code, bus, chip, nil)
}

// buildWith is build with something between the vCPU and its controller; nil: nothing.
func buildWith(sys *kvm.System, code []byte, bus vcpu.Bus, chip string, between func(vcpu.Controller) vcpu.Controller) (_ *Guest, err error) {
	g := &Guest{Ledger: ledger.New(maxVCPUs)}
	defer func() {
		if err != nil {
			g.Close()
		}
	}()
	if g.VM, err = sys.CreateVM(); err != nil {
		return nil, err
	}
	cpuid, err := sys.SupportedCPUID()
	if err != nil {
		return nil, err
	}
	c := vcpu.Config{VM: g.VM, Bus: &ender{bus, g}, Ledger: g.Ledger}
	if chip == "" {
		err = g.VM.CreateIRQChip()
	} else if err = g.createChip(sys, chip, vcpu.PhysicalBits(cpuid)); err == nil {
		c.Controller, c.Bus = g.Chip.VCPU(0), &chipBus{c.Bus, g.Chip.Registers()}
		if between != nil {
			c.Controller = between(c.Controller)
		}
	}
	if err != nil {
		return nil, err
	}
	userAPIC := chip == irqchip.UserName
	if g.Memory, err = memory.New(memorySize); err != nil {
		return nil, err
	}
	if err := g.fill(code); err != nil {
		return nil, err
	}
	if err := g.VM.SetUserMemory(0, 0, 0, g.Memory.Regions()[0].Host); err != nil {
		return nil, err
	}
	entry := guest.NewEntry(Code)
	entry.CR3, entry.RSP = pml4, stackTop
	c.Memory = g.Memory
	c.Setup = func(k *kvm.VCPU) error {
		return errors.Join(k.SetCPUID(vcpu.CPUID(cpuid, vcpu.Topology{VCPUs: 1, X2APIC: !userAPIC, UserLAPIC: userAPIC}, 0)), vcpu.Enter(k, entry))
	}
	g.CPU, err = vcpu.New(c)
	return g, err
}

// createChip makes interrupt controllers of package irqchip.
func (g *Guest) createChip(sys *kvm.System, name string, physBits int) error {
	caps, err := sys.Capabilities()
	if err != nil {
		return err
	}
	g.Chip, err = irqchip.New(irqchip.Config{Name: name, VM: g.VM, Caps: caps, VCPUs: 1, Ledger: g.Ledger, PhysBits: physBits, Warn: func(string, ...any) {}})
	return err
}

// chipBus is a bus with the registers of interrupt controllers.
type chipBus struct {
	vcpu.Bus
	registers []irqchip.Registers
}

// Memory implements vcpu.Bus.
func (b *chipBus) Memory(id int, addr uint64, write bool, p []byte) {
	for _, r := range b.registers {
		if r.Space != ledger.Memory || addr < r.Base || addr >= r.Base+r.Size {
			continue
		}
		if write {
			r.Device.Write(addr-r.Base, p)
		} else {
			r.Device.Read(addr-r.Base, p)
		}
		return
	}
	b.Bus.Memory(id, addr, write, p)
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
	for _, c := range []*vcpu.CPU{g.CPU, g.Second, g.Third} {
		if c != nil {
			c.Close()
		}
	}
	if g.Chip != nil {
		g.Chip.Close()
	}
	if g.VM != nil {
		g.VM.Close()
	}
	if g.Memory != nil {
		g.Memory.Close()
	}
}
