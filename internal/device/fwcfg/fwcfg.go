// Package fwcfg models the part of QEMU's firmware configuration device that test kernels read: a selector and a data port
// (docs/specs/fw_cfg in QEMU's manual), without its DMA interface and its files.
package fwcfg

import (
	"encoding/binary"
	"sync"
)

// The ports.
const (
	SelectorPort = 0x510 // 16 bits, write-only
	Size         = 2     // the data port is the second: 8 bits, read-only

	selector = 0
	data     = 1
)

// Keys of the items.
const (
	keySignature = 0x0000 // "QEMU", by which the device is known
	keyID        = 0x0001 // bit 0: the traditional interface, which this is
	keyRAMSize   = 0x0003
	keyNumCPUs   = 0x0005
	keyMaxCPUs   = 0x000f
	keyFileDir   = 0x0019 // a big-endian number of files: 0
)

// Config is what the items say.
type Config struct {
	VCPUs  int
	Memory uint64 // bytes
}

// Device is the two ports.
type Device struct {
	items map[uint16][]byte // not changed after New

	mu   sync.Mutex
	item []byte // the rest of the one that was selected
}

// New makes the device. Item 0 is selected.
func New(c Config) *Device {
	le := binary.LittleEndian
	d := &Device{items: map[uint16][]byte{
		keySignature: []byte("QEMU"),
		keyID:        le.AppendUint32(nil, 1),
		keyRAMSize:   le.AppendUint64(nil, c.Memory),
		keyNumCPUs:   le.AppendUint16(nil, uint16(c.VCPUs)),
		keyMaxCPUs:   le.AppendUint16(nil, uint16(c.VCPUs)),
		keyFileDir:   {0, 0, 0, 0},
	}}
	d.item = d.items[keySignature]
	return d
}

// Read returns the selected item's next bytes at the data port; zeros after its end.
func (d *Device) Read(off uint64, p []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range p {
		p[i] = 0
		if off+uint64(i) == data && len(d.item) > 0 {
			p[i], d.item = d.item[0], d.item[1:]
		}
	}
}

// Write selects an item, from its beginning; one that does not exist is empty. Only a write of 16 bits to the selector is one.
func (d *Device) Write(off uint64, p []byte) {
	if off != selector || len(p) != 2 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.item = d.items[binary.LittleEndian.Uint16(p)]
}

// RegisterName names the registers for reports.
func (d *Device) RegisterName(off uint64, _ bool) string {
	if off == selector {
		return "selector"
	}
	return "data"
}
