package vmm

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"time"

	"doorbell/guest"
	"doorbell/guest/bootparam"
	"doorbell/guest/memory"
	"doorbell/internal/device/irqprobe"
	"doorbell/internal/device/rtc"
	"doorbell/internal/device/testdev"
	"doorbell/internal/device/uart"
	"doorbell/internal/kvm"
	"doorbell/internal/ledger"
	"doorbell/irqchip"
	"doorbell/vcpu"
)

// Machine is one virtual machine, from New to Close. It runs once.
type Machine struct {
	cfg   Config
	start time.Time // of New: phases count from here

	system *kvm.System
	vm     *kvm.VM
	caps   *kvm.Capabilities
	memory *memory.Memory
	plan   *guest.Plan
	chip   irqchip.Chip
	ledger *ledger.Ledger
	bus    *Bus
	pci    *pciBus
	net    *netCard         // nil: none
	tests  *testdev.PCI     // nil: none
	probe  *irqprobe.Device // nil: none
	vfio   *passedDevices
	slots  *slots
	cpus   []*vcpu.CPU

	serial *uart.UART
	clock  *rtc.RTC
	watch  *panicWatch
	agent  *agentChannel

	ended  chan ending // capacity one: the first reason to end wins
	closed bool

	phaseMu sync.Mutex // guards phases, which devices and the agent's goroutine add to
	phases  []Phase
}

// Guest-physical addresses of what a PC has at fixed places, in the hole below 4 GiB.
const (
	identityMapAddr = 0xfffbc000 // KVM's identity page table, then its three-page TSS (old Intel processors only)
	tssAddr         = identityMapAddr + 0x1000
)

// New builds a machine: memory, the unpacked kernel, interrupt controllers, devices and vCPUs. The guest does not run yet.
func New(cfg Config) (_ *Machine, err error) {
	m := &Machine{cfg: cfg, start: time.Now(), ended: make(chan ending, 1)}
	if m.cfg.Log == nil {
		m.cfg.Log = func(string, ...any) {}
	}
	if m.cfg.Warn == nil {
		m.cfg.Warn = m.cfg.Log
	}
	if m.cfg.Output == nil {
		m.cfg.Output = io.Discard
	}
	defer func() {
		if err != nil {
			m.Close()
		}
	}()
	if m.system, err = kvm.Open(kvm.Device); err != nil {
		return nil, err
	}
	if m.caps, err = m.system.Capabilities(); err != nil {
		return nil, err
	}
	if err := m.caps.CheckRequired(); err != nil {
		return nil, err
	}
	if err := cfg.Validate(m.caps.MaxVCPUs()); err != nil {
		return nil, err
	}
	m.ledger = ledger.New(cfg.VCPUs)
	m.bus = newBus(m.ledger)
	if m.vm, err = m.system.CreateVM(); err != nil {
		return nil, err
	}
	if err := m.createMemory(); err != nil {
		return nil, err
	}
	if err := m.createChips(); err != nil {
		return nil, err
	}
	if err := m.createDevices(); err != nil {
		return nil, err
	}
	m.phase("devices wired")
	if err := m.load(); err != nil {
		return nil, err
	}
	m.phase("kernel loaded")
	if err := m.createVCPUs(); err != nil {
		return nil, err
	}
	m.phase("vCPUs created")
	return m, nil
}

// createMemory maps guest memory and gives it to KVM, a slot for each side of the hole.
func (m *Machine) createMemory() (err error) {
	if m.memory, err = memory.New(m.cfg.Memory); err != nil {
		return err
	}
	for slot, r := range m.memory.Regions() {
		if err := m.vm.SetUserMemory(uint32(slot), 0, r.GPA, r.Host); err != nil {
			return err
		}
	}
	m.slots = newSlots(m.vm, len(m.memory.Regions()), m.caps.Value(kvm.CapNrMemslots))
	return nil
}

// createChips makes the interrupt controllers, which must precede the vCPUs.
func (m *Machine) createChips() (err error) {
	if m.caps.Value(kvm.CapSetIdentityMapAddr) > 0 {
		if err := m.vm.SetIdentityMapAddr(identityMapAddr); err != nil {
			return err
		}
	}
	if m.caps.Value(kvm.CapSetTSSAddr) > 0 {
		if err := m.vm.SetTSSAddr(tssAddr); err != nil {
			return err
		}
	}
	if m.caps.Value(kvm.CapExitOnEmulationFailure) > 0 {
		if err := m.vm.EnableCap(kvm.CapExitOnEmulationFailure, 1); err != nil {
			return err
		}
	}
	bits, err := m.physicalBits()
	if err != nil {
		return err
	}
	m.chip, err = irqchip.New(irqchip.Config{
		Name: m.cfg.IRQChip, VM: m.vm, Caps: m.caps, VCPUs: m.cfg.VCPUs, Ledger: m.ledger, PhysBits: bits, Warn: m.cfg.Warn,
		ActiveLow: m.activeLow(),
	})
	if err != nil {
		return fmt.Errorf("--irqchip %s: %w", m.cfg.IRQChip, err)
	}
	for _, r := range m.chip.Registers() {
		if err := m.bus.add(r.Name, r.Space, r.Base, r.Size, r.Granule, r.Device); err != nil {
			return err
		}
	}
	return nil
}

// load writes the guest into its memory.
func (m *Machine) load() error {
	tables, err := m.acpi()
	if err != nil {
		return err
	}
	seed := make([]byte, 32)
	_, _ = rand.Read(seed) // never fails (crypto/rand)
	c := guest.Config{Memory: m.memory, Kernel: m.cfg.Kernel, Initrd: m.cfg.Initrd, Cmdline: m.cfg.Cmdline, RSDP: tables.RSDP, Seed: seed,
		Reserved: []bootparam.E820Entry{m.pci.reserved()}}
	for _, b := range tables.Blobs {
		c.ACPI = append(c.ACPI, guest.Blob{GPA: b.GPA, Data: b.Data})
	}
	if m.plan, err = guest.Build(c); err != nil {
		return err
	}
	if why := m.plan.Kernel.Fallback; why != "" {
		m.cfg.Log("kernel %s: %s; the guest unpacks it itself", m.cfg.Kernel, why)
	}
	m.cfg.Log("kernel %s: %s, entered at %#x", m.cfg.Kernel, m.plan.Kernel.Format, m.plan.Entry.RIP)
	return nil
}

// createVCPUs starts a thread for each vCPU. The first is the boot processor; the others wait for its INIT and SIPI.
func (m *Machine) createVCPUs() error {
	// Each vCPU blocks a processor of Go's scheduler for up to 20 us whenever it leaves its system call; with too few of them
	// the goroutines that carry I/O wait behind busy vCPUs. The setting is the process's, and stays.
	runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), runtime.NumCPU()+m.cfg.VCPUs+2))
	supported, err := m.system.SupportedCPUID()
	if err != nil {
		return err
	}
	top := vcpu.Topology{VCPUs: m.cfg.VCPUs, TSCDeadline: m.caps.Value(kvm.CapTSCDeadlineTimer) > 0, X2APIC: true}
	if m.chip.Name() == irqchip.UserName {
		// KVM has TSC-deadline mode for local APICs of its own only, and takes a guest's write of the MSR for nothing.
		top.UserLAPIC, top.TSCDeadline, top.X2APIC = true, false, m.caps.Value(kvm.CapX86UserSpaceMSR)&kvm.MSRExitReasonInvalid != 0
	}
	for id := range m.cfg.VCPUs {
		cpu, err := vcpu.New(vcpu.Config{
			VM: m.vm, ID: id, Bus: m.bus, Ledger: m.ledger, Memory: m.memory, Controller: m.chip.VCPU(id),
			Setup: func(c *kvm.VCPU) error {
				if err := errors.Join(c.SetCPUID(vcpu.CPUID(supported, top, uint32(id))), c.SetMSRs(vcpu.FirmwareMSRs()...)); err != nil {
					return err
				}
				if id > 0 {
					return nil
				}
				return vcpu.Enter(c, m.plan.Entry)
			},
		})
		if err != nil {
			return fmt.Errorf("vCPU %d of %d: %w", id, m.cfg.VCPUs, err)
		}
		m.cpus = append(m.cpus, cpu)
	}
	return nil
}

// phase notes a moment of the run, and how many exits there have been.
func (m *Machine) phase(name string) {
	p := Phase{Name: name, AtS: time.Since(m.start).Seconds()}
	m.phaseMu.Lock()
	defer m.phaseMu.Unlock()
	for _, s := range readStats(m.stats()) {
		exits, ok := s["exits"]
		if !ok {
			p.Exits = nil // an older kernel
			break
		}
		p.Exits = append(p.Exits, exits)
	}
	m.phases = append(m.phases, p)
}

// Exits is how many exits there have been so far, of all vCPUs, as KVM counts them; known is false where the kernel has no such statistic. Any goroutine
// may ask while the guest runs.
func (m *Machine) Exits() (n uint64, known bool) {
	m.phaseMu.Lock()
	defer m.phaseMu.Unlock()
	for _, s := range readStats(m.stats()) {
		exits, ok := s["exits"]
		if !ok {
			return 0, false
		}
		n += exits
	}
	return n, true
}

// stats are the vCPUs' statistics, which one goroutine at a time reads: who holds phaseMu.
func (m *Machine) stats() []*kvm.Stats {
	all := make([]*kvm.Stats, len(m.cpus))
	for i, c := range m.cpus {
		all[i] = c.Stats()
	}
	return all
}

// Plan is where everything lies in guest memory, for people.
func (m *Machine) Plan() *guest.Plan { return m.plan }

// Close releases everything. It is for after Run, or instead of it; a second call does nothing.
func (m *Machine) Close() error {
	if m.closed {
		return nil
	}
	m.closed = true
	var errs []error
	for _, c := range m.cpus {
		c.Close()
	}
	if m.watch != nil {
		m.watch.stop()
	}
	if m.serial != nil {
		m.serial.Abort()
	}
	if m.clock != nil {
		m.clock.Close()
	}
	if m.agent != nil {
		errs = append(errs, m.agent.close())
	}
	if m.pci != nil {
		m.pci.close()
	}
	if m.net != nil {
		errs = append(errs, m.net.close())
	}
	if m.vfio != nil {
		errs = append(errs, m.vfio.close())
	}
	if m.probe != nil {
		errs = append(errs, m.probe.Close())
	}
	if m.tests != nil {
		errs = append(errs, m.tests.Close())
	}
	if m.chip != nil {
		errs = append(errs, m.chip.Close())
	}
	if m.vm != nil {
		errs = append(errs, m.vm.Close())
	}
	if m.system != nil {
		errs = append(errs, m.system.Close())
	}
	if m.memory != nil {
		errs = append(errs, m.memory.Close())
	}
	return errors.Join(errs...)
}
