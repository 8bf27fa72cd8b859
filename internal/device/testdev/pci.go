package testdev

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"doorbell/internal/pci"

	"golang.org/x/sys/unix"
)

// The function's identity and BARs: those that test kernels know it by.
const (
	pciVendor, pciDevice = 0x1b36, 0x0005

	memoryBAR, memorySize = 0, 4 << 10
	portBAR, portSize     = 1, 256
)

// A BAR begins with a header (docs/specs/pci-testdev in QEMU's manual). A guest writes a test's number, reads what it is to write and where, writes that
// as often as it likes, and reads how many of the writes were noticed. A width of 0 is a test that does not exist.
//
//	0  u8    test, write-only
//	1  u8    width of the access
//	2        -
//	4  u32   offset of the access in the BAR
//	8  u32   data to write
//	12 u32   count of writes noticed
//	16       name, a string
const (
	hdrTest   = 0
	hdrWidth  = 1
	hdrOffset = 4
	hdrData   = 8
	hdrCount  = 12
	hdrName   = 16
	hdrSize   = 64

	// target is where the tests' writes go: behind the header.
	target = hdrSize

	accessWidth = 1
	matchData   = 0xfa
)

// test is how a BAR's writes are noticed.
type test struct {
	name    string
	eventfd bool // by an eventfd, without an exit to userspace
	match   bool // the eventfd is signalled for matchData only
}

// tests are those of each BAR, by number.
var tests = []test{{"no-eventfd", false, false}, {"wildcard-eventfd", true, false}, {"datamatch-eventfd", true, true}}

// Events is the machine's way to notice a guest's write without an exit to userspace.
type Events interface {
	// AddEvent makes a write of length bytes to the address, or of any length if that is 0, signal eventfd; with match, a write of that value only.
	AddEvent(port bool, addr uint64, length uint32, match *uint64, eventfd int) error
	// RemoveEvent undoes it.
	RemoveEvent(port bool, addr uint64, length uint32, match *uint64, eventfd int) error
}

// PCI is the function.
type PCI struct {
	function *pci.Function
	events   Events
	memory   bar
	ports    bar
}

// bar is one of its BARs. Its lock is taken inside the segment's.
type bar struct {
	dev  *PCI
	name string
	port bool

	mu      sync.Mutex
	base    uint64
	decoded bool
	current int // the test, or noTest
	count   uint32
	armed   bool // the eventfd is registered at base
	eventfd int
}

const noTest = -1

// NewPCI makes the function.
func NewPCI(events Events) (*PCI, error) {
	d := &PCI{events: events, memory: bar{eventfd: -1}, ports: bar{eventfd: -1}, function: pci.NewFunction("pci-testdev", pci.Identity{VendorID: pciVendor, DeviceID: pciDevice, BaseClass: 0xff})}
	for _, b := range []struct {
		bar  *bar
		name string
		pci  *pci.BAR
	}{
		{&d.memory, "mmio", &pci.BAR{Kind: pci.Memory32, Index: memoryBAR, Size: memorySize}},
		{&d.ports, "portio", &pci.BAR{Kind: pci.Port, Index: portBAR, Size: portSize}},
	} {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
		if err != nil {
			_ = d.Close()
			return nil, fmt.Errorf("pci-testdev: eventfd: %w", err)
		}
		b.bar.dev, b.bar.name, b.bar.port, b.bar.current, b.bar.eventfd = d, b.name, b.pci.Kind == pci.Port, noTest, fd
		b.pci.Handler, b.pci.Moved = b.bar, b.bar.moved
		if err := d.function.AddBAR(b.pci); err != nil {
			_ = d.Close()
			return nil, err
		}
	}
	d.function.OnReset(func() { d.memory.reset(); d.ports.reset() })
	return d, nil
}

// Function is what is put on the bus.
func (d *PCI) Function() *pci.Function { return d.function }

// Close releases the eventfds; the bus has been reset.
func (d *PCI) Close() error {
	var errs []error
	for _, b := range []*bar{&d.memory, &d.ports} {
		if b.eventfd >= 0 {
			errs = append(errs, unix.Close(b.eventfd))
			b.eventfd = -1
		}
	}
	return errors.Join(errs...)
}

// moved is pci.BAR.Moved.
func (b *bar) moved(base uint64, decoded bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.disarm()
	b.base, b.decoded = base, decoded
	b.arm()
}

func (b *bar) reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.disarm()
	b.current, b.count = noTest, 0
}

// event is what the current test's eventfd waits for.
func (b *bar) event() (addr uint64, length uint32, match *uint64) {
	if t := tests[b.current]; t.match {
		data := uint64(matchData)
		return b.base + target, accessWidth, &data
	}
	return b.base + target, 0, nil
}

// arm registers the eventfd if the test wants one. Called with mu held.
func (b *bar) arm() {
	if b.current == noTest || !tests[b.current].eventfd || !b.decoded || b.armed {
		return
	}
	addr, length, match := b.event()
	// A refusal is seen by the guest: none of its writes is counted by the eventfd; they exit, and are counted there.
	b.armed = b.dev.events.AddEvent(b.port, addr, length, match, b.eventfd) == nil
}

// disarm undoes arm, and keeps what was counted. Called with mu held.
func (b *bar) disarm() {
	if !b.armed {
		return
	}
	addr, length, match := b.event()
	_ = b.dev.events.RemoveEvent(b.port, addr, length, match, b.eventfd)
	b.armed = false
	b.collect()
}

// collect adds the eventfd's count. Called with mu held.
func (b *bar) collect() {
	var v [8]byte
	if n, err := unix.Read(b.eventfd, v[:]); n == len(v) && err == nil {
		b.count += uint32(binary.NativeEndian.Uint64(v[:]))
	}
}

// header is the BAR's first bytes. Called with mu held.
func (b *bar) header() (h [hdrSize]byte) {
	if b.current == noTest {
		return h
	}
	b.collect()
	h[hdrWidth] = accessWidth
	binary.LittleEndian.PutUint32(h[hdrOffset:], target)
	binary.LittleEndian.PutUint32(h[hdrData:], matchData)
	binary.LittleEndian.PutUint32(h[hdrCount:], b.count)
	copy(h[hdrName:], b.name+"-"+tests[b.current].name)
	return h
}

// Read implements pci.Handler.
func (b *bar) Read(off uint64, p []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(p)
	if h := b.header(); off < hdrSize {
		copy(p, h[off:])
	}
}

// Write implements pci.Handler.
func (b *bar) Write(off uint64, p []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case off == hdrTest && len(p) > 0:
		b.disarm()
		b.collect() // the last test's
		b.current, b.count = noTest, 0
		if n := int(p[0]); n < len(tests) {
			b.current = n
			b.arm()
		}
	case off == target && b.current != noTest:
		if t := tests[b.current]; !t.match || len(p) == accessWidth && p[0] == matchData {
			b.count++
		}
	}
}

// RegisterName implements pci.Handler.
func (b *bar) RegisterName(off uint64, _ bool) string {
	switch {
	case off == hdrTest:
		return b.name + " test"
	case off < hdrSize:
		return b.name + " header"
	case off == target:
		return b.name + " target"
	}
	return fmt.Sprintf("%s %#x", b.name, off)
}
