package vfio

import (
	"encoding/binary"
	"fmt"

	"doorbell/internal/pci"
)

// Registers of the configuration header (PCI 3.0, section 6.1) that are looked at here.
const (
	regVendor       = 0x00
	regDevice       = 0x02
	regCommand      = 0x04
	regRevision     = 0x08
	regProgIf       = 0x09
	regSubClass     = 0x0a
	regBaseClass    = 0x0b
	regHeaderType   = 0x0e
	regBAR          = 0x10
	regSubsysVendor = 0x2c
	regSubsystem    = 0x2e
	regCapabilities = 0x34
	regInterruptPin = 0x3d

	headerTypeMask = 0x7f

	commandIO     = 1 << 0
	commandMemory = 1 << 1
)

// configSpace is the device's configuration space when it was opened.
type configSpace [pci.ConfigSize]byte

func (c *configSpace) u16(off int) uint16 { return binary.LittleEndian.Uint16(c[off:]) }
func (c *configSpace) u32(off int) uint32 { return binary.LittleEndian.Uint32(c[off:]) }

// identity is what the guest's driver knows the device by.
func (c *configSpace) identity() pci.Identity {
	return pci.Identity{
		VendorID: c.u16(regVendor), DeviceID: c.u16(regDevice), SubsystemVendorID: c.u16(regSubsysVendor), SubsystemID: c.u16(regSubsystem),
		BaseClass: c[regBaseClass], SubClass: c[regSubClass], ProgIf: c[regProgIf], RevisionID: c[regRevision],
	}
}

// capability is an entry of the list.
type capabilityAt struct {
	id byte
	at int
}

// capabilities walks the list, which a faulty device may have bent into a loop or out of the space.
func (c *configSpace) capabilities() (list []capabilityAt) {
	seen := map[int]bool{}
	for at := int(c[regCapabilities] &^ 3); at >= 0x40 && at < pci.ConfigSize && !seen[at]; at = int(c[at+1] &^ 3) {
		seen[at] = true
		list = append(list, capabilityAt{c[at], at})
	}
	return list
}

// Express capability (PCI Express Base Specification, section 7.5.3): its length by version, and the device's type in its flags.
const (
	expressFlags     = 2
	expressVersion   = 0xf
	expressType      = 4 // shift
	expressTypeMask  = 0xf
	expressEndpoint  = 0x0
	expressLegacy    = 0x1
	expressOnBus0    = 0x9 // Root Complex Integrated Endpoint
	expressLengthV1  = 0x14
	expressLengthV2  = 0x3c
	powerLength      = 8
	vendorLengthByte = 2
)

// length is how many bytes of a capability that is passed through are the guest's; 0 hides it. What is hidden are capabilities that doorbell
// emulates, and those that reach beyond the device or that no driver needs in a guest: VPD, slot numbers, AF and so on.
func (c *configSpace) length(k capabilityAt) int {
	n := 0
	switch k.id {
	case pci.CapPowerManagement:
		n = powerLength
	case pci.CapVendorSpecific:
		if k.at+vendorLengthByte < len(c) {
			n = int(c[k.at+vendorLengthByte])
		}
	case pci.CapExpress:
		n = expressLengthV1
		if k.at+expressFlags < len(c) && c[k.at+expressFlags]&expressVersion >= 2 {
			n = expressLengthV2
		}
	}
	if n < 4 || k.at+n > len(c) {
		return 0
	}
	return n
}

// msiForm decodes message control of MSI (PCI 3.0, section 6.8.1.3).
func (c *configSpace) msiForm(at int) pci.MSIForm {
	control := c.u16(at + 2)
	return pci.MSIForm{Vectors: 1 << min(control>>1&7, 5), Address64: control&(1<<7) != 0, Maskable: control&(1<<8) != 0}
}

// msixPlace decodes the MSI-X capability (section 6.8.2): how many vectors, and where table and pending bits are.
func (c *configSpace) msixPlace(at int) (n int, p pci.MSIXPlace, err error) {
	const barMask = 7
	if at+12 > len(c) {
		return 0, p, fmt.Errorf("MSI-X at %#x reaches beyond the configuration space", at)
	}
	table, pba := c.u32(at+4), c.u32(at+8)
	p = pci.MSIXPlace{TableBAR: int(table & barMask), TableOffset: table &^ barMask, PBABAR: int(pba & barMask), PBAOffset: pba &^ barMask}
	return int(c.u16(at+2)&0x7ff) + 1, p, nil
}

// pass gives the guest a capability of the device's: reads and writes of all but its identifier and next pointer go there.
func (p *Passed) pass(k capabilityAt, n int) error {
	body := p.config[k.at+2 : k.at+n]
	all := make([]byte, len(body))
	for i := range all {
		all[i] = 0xff
	}
	return p.function.AddCapabilityAt(k.at, k.id, body, all, pci.Hooks{
		BeforeRead: func(c []byte, off, n int) {
			if start := max(off, 2); start < off+n && !p.gone.Load() {
				p.dev.read(regionConfig, uint64(k.at+start), c[start:off+n])
				if k.id == pci.CapExpress && start <= expressFlags {
					onBus0(c)
				}
			}
		},
		AfterWrite: func(c []byte, off, n int) {
			if start := max(off, 2); start < off+n && !p.gone.Load() {
				p.dev.write(regionConfig, uint64(k.at+start), c[start:off+n])
			}
		},
	})
}

// onBus0 makes an endpoint behind a port of the host's one that the guest's bus can have: it has no ports.
func onBus0(c []byte) {
	if t := c[expressFlags] >> expressType & expressTypeMask; t == expressEndpoint || t == expressLegacy {
		c[expressFlags] = c[expressFlags]&expressVersion | expressOnBus0<<expressType
	}
}

// command passes the command and status registers on. The device decodes its BARs all the time: where the guest finds them, and whether, is the
// guest's bus's affair, and a device that did not would fault whoever touches its mapped pages.
func (p *Passed) command() pci.Hooks {
	status := func(c []byte) {
		p.dev.read(regionConfig, regCommand+2, c[2:4])
		c[2] |= statusCapList // of the guest's list
	}
	return pci.Hooks{
		BeforeRead: func(c []byte, off, n int) {
			if off+n > 2 && !p.gone.Load() {
				status(c)
			}
		},
		AfterWrite: func(c []byte, off, n int) {
			if p.gone.Load() {
				return
			}
			if off < 2 {
				p.dev.write(regionConfig, regCommand, []byte{c[0] | commandIO | commandMemory, c[1]})
			}
			if start := max(off, 2); start < off+n {
				p.dev.write(regionConfig, uint64(regCommand+start), c[start:off+n])
				status(c)
			}
		},
	}
}

const statusCapList = 1 << 4
