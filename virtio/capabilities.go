package virtio

import (
	"encoding/binary"
	"errors"

	"doorbell/internal/pci"
)

// Types of the vendor-specific capabilities (section 4.1.4).
const (
	capCommon = 1
	capNotify = 2
	capISR    = 3
	capDevice = 4
	capPCI    = 5
)

// Offsets in struct virtio_pci_cap, and of pci_cfg_data behind it.
const (
	capBAR    = 4
	capOffset = 8
	capLength = 12
	capEnd    = 16
	capData   = 16
	capHeader = 2 // cap_vndr and cap_next, which are not part of a capability's body
)

// capability is the body of a struct virtio_pci_cap that is followed by extra bytes.
func capability(kind, bar byte, offset, length uint32, extra ...byte) []byte {
	b := []byte{byte(capEnd + len(extra)), kind, bar, 0, 0, 0}
	b = binary.LittleEndian.AppendUint32(b, offset)
	b = binary.LittleEndian.AppendUint32(b, length)
	return append(b, extra...)
}

// addCapabilities tells the driver where the structures are.
func (t *PCI) addCapabilities() error {
	var errs []error
	add := func(body, writable []byte, hooks pci.Hooks) {
		_, err := t.function.AddCapability(pci.CapVendorSpecific, body, writable, hooks)
		errs = append(errs, err)
	}
	add(capability(capCommon, structuresBAR, commonOffset, commonSize), nil, pci.Hooks{})
	add(capability(capISR, structuresBAR, isrOffset, isrSize), nil, pci.Hooks{})
	if t.info.ConfigSize > 0 {
		add(capability(capDevice, structuresBAR, deviceOffset, uint32(t.info.ConfigSize)), nil, pci.Hooks{})
	}
	add(capability(capNotify, structuresBAR, notifyOffset, uint32(len(t.slots)*notifyMultiplier), notifyMultiplier, 0, 0, 0), nil, pci.Hooks{})

	window := capability(capPCI, 0, 0, 0, 0, 0, 0, 0)
	writable := make([]byte, len(window))
	writable[capBAR-capHeader] = 0xff
	for i := capOffset - capHeader; i < len(writable); i++ {
		writable[i] = 0xff
	}
	add(window, writable, pci.Hooks{BeforeRead: t.readWindow, AfterWrite: t.writeWindow})
	return errors.Join(errs...)
}

// The PCI configuration access capability (section 4.1.4.9) reaches the BARs from the configuration space: pci_cfg_data stands for the
// bytes at offset of bar. What does not name 1, 2 or 4 aligned bytes of a BAR reaches nothing.

func (t *PCI) readWindow(c []byte, off, n int) {
	if h, at, data := t.window(c, off, n); h != nil {
		h.Read(at, data)
	}
}

func (t *PCI) writeWindow(c []byte, off, n int) {
	if h, at, data := t.window(c, off, n); h != nil {
		h.Write(at, data)
	}
}

// window resolves the capability's registers if the access touches pci_cfg_data.
func (t *PCI) window(c []byte, off, n int) (pci.Handler, uint64, []byte) {
	if off >= capData+4 || off+n <= capData {
		return nil, 0, nil
	}
	at, length := binary.LittleEndian.Uint32(c[capOffset:]), binary.LittleEndian.Uint32(c[capLength:])
	if length != 1 && length != 2 && length != 4 || at%length != 0 {
		return nil, 0, nil
	}
	for _, b := range t.function.BARs() {
		if b.Index == int(c[capBAR]) && uint64(at)+uint64(length) <= b.Size {
			return b.Handler, uint64(at), c[capData : capData+length]
		}
	}
	return nil, 0, nil
}
