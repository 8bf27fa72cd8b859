package vmm

import (
	"errors"

	"doorbell/guest/acpi"
	"doorbell/guest/bootparam"
	"doorbell/guest/memory"
	"doorbell/internal/kvm"
	"doorbell/internal/ledger"
	"doorbell/internal/pci"
	"doorbell/vcpu"
)

// Where the bus's windows are, in the hole below 4 GiB. The interrupt controllers are at its end.
const (
	ecamBase     = 0xe000_0000
	memory32Base = 0xe800_0000
	memory32Size = 0x1000_0000

	// The window of ports, for those devices that have any.
	portsBase = 0xc000
	portsSize = 0x1000

	// memory64Align is that of the window above RAM; memory64Size is the most that it takes.
	memory64Align = 1 << 30
	memory64Size  = 64 << 30
)

// pciBus is the machine's PCI segment and what it needs of the machine: it implements pci.Decoder and virtio.Doorbells.
type pciBus struct {
	segment *pci.Segment
	bus     *Bus
	vm      *kvm.VM
	// doorbellLength is 0, for writes of any width, where KVM can watch for these; else virtio's two bytes (section 4.1.4.4.1).
	doorbellLength uint32
	windows        []pci.Window
	regions        map[*pci.BAR]region // each BAR's counters; not changed once the guest runs
}

// createPCI makes the segment with its host bridge, and puts its two configuration mechanisms in place. reset answers at port 0xcf9,
// which lies inside the configuration address register.
func (m *Machine) createPCI(reset Device) error {
	b := &pciBus{bus: m.bus, vm: m.vm, regions: map[*pci.BAR]region{}}
	if m.caps.Value(kvm.CapIOEventFDAnyLength) == 0 {
		b.doorbellLength = 2
	}
	bits, err := m.physicalBits()
	if err != nil {
		return err
	}
	if w, ok := memory64Window(m.memory.Regions(), bits); ok {
		b.windows = append(b.windows, w)
	}
	b.windows = append(b.windows, pci.Window{Base: memory32Base, Size: memory32Size})
	if m.cfg.TestDev || len(m.cfg.VFIO) > 0 {
		b.windows = append(b.windows, pci.Window{Base: portsBase, Size: portsSize, Ports: true})
	}
	if b.segment, err = pci.NewSegment(b, b.windows...); err != nil {
		return err
	}
	m.pci = b
	ports := b.segment.Ports(reset)
	return errors.Join(
		m.bus.add("pci", ledger.Port, pci.AddressPort, pci.AddressPortSize, 1, ports.Address()),
		m.bus.add("pci", ledger.Port, pci.DataPort, pci.DataPortSize, 1, ports.Data()),
		m.bus.add("pci config", ledger.Memory, ecamBase, pci.ECAMSize, pci.ECAMSize/256, b.segment.ECAM()),
	)
}

// physicalBits is the width of the guest's physical addresses.
func (m *Machine) physicalBits() (int, error) {
	supported, err := m.system.SupportedCPUID()
	if err != nil {
		return 0, err
	}
	return vcpu.PhysicalBits(supported), nil
}

// memory64Window is the range above RAM for 64-bit BARs, if the processor's physical addresses have the bits for one.
func memory64Window(ram []memory.Region, bits int) (pci.Window, bool) {
	base := uint64(memory.HoleEnd)
	for _, r := range ram {
		base = max(base, r.GPA+r.Size)
	}
	base = (base + memory64Align - 1) &^ (memory64Align - 1)
	end := uint64(1) << bits
	// On AMD processors without host bits to spare the last 12 GiB below 1 TiB are HyperTransport's (AMD BKDG, "Memory Address Map").
	const htStart, htEnd = 0xfd_0000_0000, 0x100_0000_0000
	if end == htEnd {
		end = htStart
	}
	if base >= end {
		return pci.Window{}, false
	}
	return pci.Window{Base: base, Size: min(end-base, memory64Size)}, true
}

// attach puts a function on the bus at device number n, before the guest runs.
func (b *pciBus) attach(n int, f *pci.Function) error {
	if err := b.segment.Attach(pci.Address{Device: n}, f); err != nil {
		return err
	}
	for _, bar := range f.BARs() {
		// Registers of virtio's common configuration begin at any byte: device_status, config_generation and queue_select share four.
		b.regions[bar] = b.bus.register(f.Name, barSpace(bar), bar.Size, max(bar.Register, 1), bar.Handler)
	}
	return nil
}

// Map implements pci.Decoder.
func (b *pciBus) Map(bar *pci.BAR, base uint64) error {
	return b.bus.place(barSpace(bar), base, b.regions[bar])
}

// Unmap implements pci.Decoder.
func (b *pciBus) Unmap(bar *pci.BAR, base uint64) { b.bus.remove(barSpace(bar), base) }

// barSpace is the address space that a BAR is in.
func barSpace(b *pci.BAR) ledger.Space {
	if b.Kind == pci.Port {
		return ledger.Port
	}
	return ledger.Memory
}

// AddEvent implements testdev.Events.
func (b *pciBus) AddEvent(port bool, addr uint64, length uint32, match *uint64, eventfd int) error {
	return b.vm.IOEventFD(kvm.IOEvent{Addr: addr, Port: port, Length: b.eventLength(length), Match: match}, eventfd)
}

// RemoveEvent implements testdev.Events.
func (b *pciBus) RemoveEvent(port bool, addr uint64, length uint32, match *uint64, eventfd int) error {
	return b.vm.RemoveIOEventFD(kvm.IOEvent{Addr: addr, Port: port, Length: b.eventLength(length), Match: match}, eventfd)
}

// eventLength is one byte where KVM cannot watch for writes of any length.
func (b *pciBus) eventLength(n uint32) uint32 {
	if n == 0 && b.doorbellLength != 0 {
		return 1
	}
	return n
}

// AddDoorbell implements virtio.Doorbells.
func (b *pciBus) AddDoorbell(addr uint64, eventfd int) error {
	return b.vm.IOEventFD(kvm.IOEvent{Addr: addr, Length: b.doorbellLength}, eventfd)
}

// RemoveDoorbell implements virtio.Doorbells.
func (b *pciBus) RemoveDoorbell(addr uint64, eventfd int) error {
	return b.vm.RemoveIOEventFD(kvm.IOEvent{Addr: addr, Length: b.doorbellLength}, eventfd)
}

// describe is the bus's part of the ACPI tables.
func (b *pciBus) describe() acpi.HostBridge {
	h := acpi.HostBridge{ECAM: ecamBase}
	for _, w := range b.windows {
		r := acpi.PCIWindow{First: w.Base, Last: w.Base + w.Size - 1}
		switch {
		case w.Ports:
			h.Ports = r
		case w.Base < memory.HoleEnd:
			h.Memory32 = r
		default:
			h.Memory64 = r
		}
	}
	return h
}

// reserved is the bus's part of the memory map.
func (b *pciBus) reserved() bootparam.E820Entry {
	return bootparam.E820Entry{Addr: ecamBase, Size: pci.ECAMSize, Type: bootparam.E820Reserved}
}

// close resets the bus, which takes doorbells and BARs away.
func (b *pciBus) close() { b.segment.Reset() }
