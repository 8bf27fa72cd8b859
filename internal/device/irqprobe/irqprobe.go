// Package irqprobe models a PCI function that does nothing but interrupt when it is told to: for measuring what a guest's operating system does with an
// interrupt, and for writing a driver that does not have much else to do. images/irqprobe has the one for Linux.
//
// The function has Sources sources of interrupts. With MSI-X each has a vector; without it they share the pin INTA#, which is active while a source that is
// enabled is in STATUS. BAR 0 has 32-bit registers, little-endian:
//
//	0x00 ID      read-only   Identity
//	0x04 SOURCES read-only   Sources
//	0x08 RAISE   write-only  a bit for each source that is to interrupt
//	0x0c STATUS  read, W1C   sources that were raised without MSI-X and not quieted since
//	0x10 ENABLE  read/write  sources that may hold the pin active
//	0x40+4n      read-only   how often source n was raised, modulo 2^32
//
// The pin does not look at the Command register's Interrupt Disable, and a source that was raised before MSI-X was enabled holds it until it is quieted.
// What lies between the registers reads as zero. A write that is not of 4 bytes at a register does nothing. BAR 2 has MSI-X's table and pending bits.
package irqprobe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"doorbell/internal/pci"
)

// The function's identity: the vendor is Red Hat's, which QEMU's own devices have, with a device number that none of them uses.
const (
	VendorID = 0x1b36
	DeviceID = 0x0bee

	baseClassOther = 0xff // no class says what it is (PCI Code and ID Assignment)

	// Identity is what ID reads.
	Identity = 0x64_62_70_01 // "dbp", version 1
	// Sources is how many sources of interrupts there are.
	Sources = 5
)

// Registers of BAR 0.
const (
	regID      = 0x00
	regSources = 0x04
	regRaise   = 0x08
	regStatus  = 0x0c
	regEnable  = 0x10
	regCount   = 0x40

	registersBAR, registersSize = 0, 0x1000
	msixBAR, msixSize           = 2, 0x1000
	pbaOffset                   = 0x800

	allSources = 1<<Sources - 1
)

// Pin is the level-triggered line that the function's INTA# is wired to.
type Pin interface{ Set(level bool) }

// Device is the function.
type Device struct {
	function *pci.Function
	msix     *pci.MSIX
	pin      Pin

	mu             sync.Mutex // guards what follows, and the pin's level
	status, enable uint32
	raised         [Sources]uint32
}

// New makes the function. onError hears of vectors that could not be connected.
func New(name string, ways pci.Vectors, pin Pin, onError func(error)) (*Device, error) {
	d := &Device{pin: pin, function: pci.NewFunction(name, pci.Identity{
		VendorID: VendorID, DeviceID: DeviceID, SubsystemVendorID: VendorID, SubsystemID: DeviceID, BaseClass: baseClassOther,
	})}
	var err error
	if d.msix, err = pci.NewMSIX(name, Sources, ways, onError); err != nil {
		return nil, err
	}
	d.function.SetInterruptPin(1)
	d.function.OnReset(d.reset)
	err = errors.Join(
		d.function.AddBAR(&pci.BAR{Kind: pci.Memory32, Index: registersBAR, Size: registersSize, Handler: registers{d}, Register: 4}),
		d.function.AddBAR(&pci.BAR{Kind: pci.Memory32, Index: msixBAR, Size: msixSize, Handler: msixPage{d.msix}}),
		d.msix.Attach(d.function, pci.MSIXPlace{TableBAR: msixBAR, PBABAR: msixBAR, PBAOffset: pbaOffset}),
	)
	if err != nil {
		return nil, errors.Join(err, d.msix.Close())
	}
	return d, nil
}

// Function is what is put on the bus.
func (d *Device) Function() *pci.Function { return d.function }

// Close releases the vectors. The bus has been reset.
func (d *Device) Close() error { return d.msix.Close() }

func (d *Device) reset() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.status, d.enable, d.raised = 0, 0, [Sources]uint32{}
	d.drive()
}

// drive sets the pin. Called with mu held.
func (d *Device) drive() { d.pin.Set(d.status&d.enable != 0) }

// raise has sources interrupt.
func (d *Device) raise(sources uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	msix := d.msix.Enabled()
	for n := range Sources {
		if sources&(1<<n) == 0 {
			continue
		}
		d.raised[n]++
		if msix {
			d.msix.Fire(n)
		} else {
			d.status |= 1 << n
		}
	}
	d.drive()
}

// register reads the register at a multiple of 4.
func (d *Device) register(off uint64) uint32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case off == regID:
		return Identity
	case off == regSources:
		return Sources
	case off == regStatus:
		return d.status
	case off == regEnable:
		return d.enable
	case off >= regCount && off < regCount+4*Sources:
		return d.raised[(off-regCount)/4]
	}
	return 0
}

// registers is BAR 0.
type registers struct{ *Device }

// Read implements pci.Handler.
func (r registers) Read(off uint64, p []byte) {
	for i := range p {
		at := off + uint64(i)
		if i == 0 || at%4 == 0 {
			var b [4]byte
			binary.LittleEndian.PutUint32(b[:], r.register(at&^3))
			copy(p[i:], b[at%4:])
		}
	}
}

// Write implements pci.Handler.
func (r registers) Write(off uint64, p []byte) {
	if len(p) != 4 {
		return
	}
	v := binary.LittleEndian.Uint32(p)
	switch off {
	case regRaise:
		r.raise(v & allSources)
	case regStatus:
		r.mu.Lock()
		r.status &^= v
		r.drive()
		r.mu.Unlock()
	case regEnable:
		r.mu.Lock()
		r.enable = v & allSources
		r.drive()
		r.mu.Unlock()
	}
}

// RegisterName implements pci.Handler.
func (r registers) RegisterName(off uint64, _ bool) string {
	switch {
	case off == regID:
		return "id"
	case off == regSources:
		return "sources"
	case off == regRaise:
		return "raise"
	case off == regStatus:
		return "status"
	case off == regEnable:
		return "enable"
	case off >= regCount && off < regCount+4*Sources:
		return fmt.Sprintf("count %d", (off-regCount)/4)
	}
	return fmt.Sprintf("%#x", off)
}

// msixPage is BAR 2.
type msixPage struct{ *pci.MSIX }

// Read implements pci.Handler.
func (m msixPage) Read(off uint64, p []byte) {
	clear(p)
	switch {
	case off < m.TableSize():
		m.ReadTable(off, p)
	case off >= pbaOffset:
		m.ReadPBA(off-pbaOffset, p)
	}
}

// Write implements pci.Handler.
func (m msixPage) Write(off uint64, p []byte) { m.WriteTable(off, p) }

// RegisterName implements pci.Handler.
func (m msixPage) RegisterName(off uint64, _ bool) string {
	switch {
	case off < m.TableSize():
		return m.TableRegisterName(off)
	case off >= pbaOffset && off < pbaOffset+m.PBASize():
		return "MSI-X pending bits"
	}
	return fmt.Sprintf("%#x", off)
}
