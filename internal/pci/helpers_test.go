package pci_test

import (
	"encoding/binary"
	"fmt"
	"testing"

	"doorbell/internal/pci"
	"doorbell/internal/pci/pcitest"
)

// scratch is a BAR's content: plain memory.
type scratch struct{}

func (scratch) Read(uint64, []byte)                    {}
func (scratch) Write(uint64, []byte)                   {}
func (scratch) RegisterName(off uint64, _ bool) string { return fmt.Sprint(off) }

const (
	lowBase, lowSize   = 0xc000_0000, 0x1000_0000
	highBase, highSize = 0x10_0000_0000, 0x10_0000_0000
	portBase, portSize = 0x3000, 0x100
)

// bus is a segment with functions at 00:01.0 (BARs of 4 KiB and 64 KiB), 00:02.0 (BAR of 1 MiB) and 00:04.0 (8 KiB below 4 GiB, and 32 ports), with
// their BARs placed.
type bus struct {
	*pci.Segment
	decoder *pcitest.Decoder
	irqs    *pcitest.Interrupts
	msix    *pci.MSIX
	one     *pci.Function
	two     *pci.Function
	four    *pci.Function
}

func newBus(tb pcitest.TB) *bus {
	b := &bus{decoder: pcitest.NewDecoder(tb), irqs: pcitest.NewInterrupts(tb, 0)}
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	var err error
	b.Segment, err = pci.NewSegment(b.decoder, pci.Window{Base: lowBase, Size: lowSize}, pci.Window{Base: highBase, Size: highSize},
		pci.Window{Base: portBase, Size: portSize, Ports: true})
	must(err)
	b.one = pci.NewFunction("one", pci.Identity{VendorID: 0x1af4, DeviceID: 0x1041, BaseClass: 2, RevisionID: 1, SubsystemVendorID: 0x1af4, SubsystemID: 0x1100})
	must(b.one.AddBAR(&pci.BAR{Index: 0, Size: 4 << 10, Handler: scratch{}}))
	must(b.one.AddBAR(&pci.BAR{Index: 2, Size: 64 << 10, Prefetchable: true, Handler: scratch{}}))
	_, err = b.one.AddCapability(pci.CapVendorSpecific, []byte{5, 1, 2, 3}, nil, pci.Hooks{})
	must(err)
	b.msix, err = pci.NewMSIX("one", 3, b.irqs, func(err error) { tb.Errorf("%v", err) })
	must(err)
	must(b.msix.Attach(b.one, pci.MSIXPlace{TableBAR: 2, PBABAR: 2, PBAOffset: 0x800}))
	b.two = pci.NewFunction("two", pci.Identity{VendorID: 0x1af4, DeviceID: 0x1042, BaseClass: 1})
	must(b.two.AddBAR(&pci.BAR{Index: 4, Size: 1 << 20, Handler: scratch{}}))
	b.four = pci.NewFunction("four", pci.Identity{VendorID: 0x1af4, DeviceID: 0x1044, BaseClass: 0xff})
	must(b.four.AddBAR(&pci.BAR{Kind: pci.Memory32, Index: 0, Size: 8 << 10, Handler: scratch{}}))
	must(b.four.AddBAR(&pci.BAR{Kind: pci.Port, Index: 1, Size: 32, Handler: scratch{}}))
	must(b.Attach(pci.Address{Device: 1}, b.one))
	must(b.Attach(pci.Address{Device: 2}, b.two))
	must(b.Attach(pci.Address{Device: 4}, b.four))
	must(b.Place())
	return b
}

// ecam accesses a function's register through the window.
func ecam(s *pci.Segment, device, register int, p []byte, write bool) {
	off := uint64(device<<15 | register)
	if write {
		s.ECAM().Write(off, p)
	} else {
		s.ECAM().Read(off, p)
	}
}

func (b *bus) read32(device, register int) uint32 {
	var p [4]byte
	ecam(b.Segment, device, register, p[:], false)
	return binary.LittleEndian.Uint32(p[:])
}

func (b *bus) write32(device, register int, v uint32) {
	ecam(b.Segment, device, register, binary.LittleEndian.AppendUint32(nil, v), true)
}

// mapped is where the machine's map has a function's BAR, or 0.
func (b *bus) mapped(f *pci.Function, bar int) uint64 { return b.decoder.At[f.BARs()[bar]] }

func check[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}
