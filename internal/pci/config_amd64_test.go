package pci_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"doorbell/internal/pci"
)

type resetPort struct{ log []byte }

func (r *resetPort) Read(off uint64, p []byte)      { p[0] = 0x5a + byte(off) }
func (r *resetPort) Write(_ uint64, p []byte)       { r.log = append(r.log, p...) }
func (*resetPort) RegisterName(uint64, bool) string { return "RST_CNT" }

func TestPorts(t *testing.T) {
	b := newBus(t)
	reset := &resetPort{}
	p := b.Ports(reset)
	dword := func(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }
	read := func(h pci.Handler, off uint64, n int) uint32 {
		v := make([]byte, 4)
		h.Read(off, v[:n])
		return binary.LittleEndian.Uint32(v)
	}
	p.Address().Write(0, dword(0xffffffff))
	check(t, "reserved bits", read(p.Address(), 0, 4), 0x80fffffc)
	check(t, "bus 255", read(p.Data(), 0, 4), 0xffffffff)
	p.Address().Write(0, dword(1<<31|1<<11))
	check(t, "dword", read(p.Data(), 0, 4), 0x10411af4)
	check(t, "word", read(p.Data(), 2, 2), 0x1041)
	check(t, "byte", read(p.Data(), 1, 1), 0x1a)
	// Narrow accesses to the address register are ordinary I/O; one of the bytes is the reset register.
	p.Address().Write(0, []byte{1, 2})
	p.Address().Write(2, []byte{1, 2})
	p.Address().Write(1, []byte{6})
	check(t, "address register", read(p.Address(), 0, 4), 1<<31|1<<11)
	check(t, "reset register", string(reset.log), "\x06")
	check(t, "reset register reads", read(p.Address(), 1, 1), 0x5a)
	check(t, "narrow read", read(p.Address(), 0, 2), 0xffff)
	p.Data().Write(0, dword(0)) // read-only
	p.Address().Write(0, dword(1<<11))
	check(t, "disabled", read(p.Data(), 0, 4), 0xffffffff)
	check(t, "name", p.Address().RegisterName(1, true), "RST_CNT")
}

// FuzzConfig accesses two equal buses, one through the window and one through the ports, in any width and order. What the guest sees must
// be the same, what it cannot change must not change, and BARs must stay where BARs may be.
func FuzzConfig(f *testing.F) {
	f.Add([]byte{})
	// Sizing of a BAR while it is decoded, byte by byte.
	f.Add([]byte{0x04, 0x81, 2, 0x10, 0x81, 0xff, 0x11, 0x81, 0xff, 0x12, 0x81, 0xff, 0x13, 0x81, 0xff, 0x14, 0x81, 0xff, 0x17, 0x81, 0xff})
	// Moves over RAM, over the other function, into the high window.
	f.Add([]byte{0x04, 0x81, 2, 0x04, 0x82, 2, 0x13, 0x81, 0, 0x12, 0x81, 0, 0x23, 0x82, 0xc8, 0x14, 0x81, 0x10})
	// A port BAR, sized and moved with its decoder on; a 32-bit BAR likewise.
	f.Add([]byte{0x04, 0x83, 3, 0x14, 0xa3, 0xff, 0x14, 0xa3, 0x40, 0x15, 0x83, 0x30, 0x10, 0xa3, 0xff, 0x13, 0x83, 0xc4})
	// MSI-X enabled, masked, disabled, in words and dwords.
	f.Add([]byte{0x4b, 0x81, 0x80, 0x4a, 0x91, 0xc0, 0x48, 0xa1, 0, 0x4b, 0x81, 0xc0})
	f.Fuzz(func(t *testing.T, ops []byte) {
		byECAM, byPorts := newBus(t), newBus(t)
		ports := byPorts.Ports(nil)
		selectRegister := func(device, register int) {
			ports.Address().Write(0, binary.LittleEndian.AppendUint32(nil, uint32(1<<31|device<<11|register&0xfc)))
		}
		for ; len(ops) >= 3; ops = ops[3:] {
			register, how, v := int(ops[0]), ops[1], ops[2]
			device, width := [...]int{0, 1, 2, 4}[how&3], 1<<(how>>4&3)
			width = min(width, 4)
			register &^= width - 1
			data := []byte{v, ^v, v, v ^ 0x55}[:width]
			selectRegister(device, register)
			if how&0x80 != 0 {
				ecam(byECAM.Segment, device, register, data, true)
				ports.Data().Write(uint64(register&3), data)
			}
			a, b := make([]byte, width), make([]byte, width)
			ecam(byECAM.Segment, device, register, a, false)
			ports.Data().Read(uint64(register&3), b)
			if !bytes.Equal(a, b) {
				t.Fatalf("device %d register %#x: % x through the window, % x through the ports", device, register, a, b)
			}
			for _, bus := range []*bus{byECAM, byPorts} {
				for bar, at := range bus.decoder.At {
					within := func(base, size uint64) bool { return at >= base && at+bar.Size <= base+size }
					if ok := map[pci.BARKind]bool{
						pci.Memory64: within(lowBase, lowSize) || within(highBase, highSize), pci.Memory32: within(lowBase, lowSize), pci.Port: within(portBase, portSize),
					}[bar.Kind]; !ok {
						t.Fatalf("%s is decoded at %#x", bar.Name(), at)
					}
				}
			}
			if id := byECAM.read32(1, 0); id != 0x10411af4 {
				t.Fatalf("identity became %#x", id)
			}
		}
		if a, b := byECAM.decoder.At, byPorts.decoder.At; len(a) != len(b) {
			t.Fatalf("%d BARs decoded by one bus, %d by the other", len(a), len(b))
		}
		byECAM.Reset()
		if n := len(byECAM.decoder.At); n != 0 {
			t.Fatalf("%d BARs are decoded after reset", n)
		}
	})
}
