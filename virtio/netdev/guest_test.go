package netdev

import (
	"encoding/binary"
	"errors"
	"net"
	"sync"

	"doorbell/guest/memory"
	"doorbell/internal/pci"
	"doorbell/internal/pci/pcitest"
	"doorbell/virtio"
	"doorbell/virtio/backend"
)

// tester is a *testing.T, a *testing.B, or rapid's.
type tester interface {
	pcitest.TB
	Error(args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

var testMAC = net.HardwareAddr{0x02, 0, 0, 0, 0, 0x10}

// setup is how a guest and its device are to be. The zero value is a split ring without anything.
type setup struct {
	backend     backend.Backend
	io          IOMode
	disable     uint64
	transport   uint64 // features of the transport that are not offered
	queueSize   int
	mtu         int
	receiveSize int    // bytes of each receive buffer; 0 is 2048
	refuse      uint64 // features that the driver does not want
	mapped      bool   // memory that the race detector does not see, for a driver that breaks the rules
}

const (
	eventIdx = virtio.FeatureEventIdx
	indirect = virtio.FeatureIndirectDesc
	packed   = virtio.FeatureRingPacked
)

// guest is a machine with one network device, and its driver.
type guest struct {
	tb       tester
	s        setup
	ram      []byte
	memory   *memory.Memory
	device   *Device
	t        *virtio.PCI
	segment  *pci.Segment
	irqs     *pcitest.Interrupts
	features uint64
	queues   []*vq
	control  *vq

	mu     sync.Mutex
	faults []error
}

// vq is one queue of the driver.
type vq struct {
	g     *guest
	index int
	base  uint64
	ring
	size   int
	slot   int   // bytes of each buffer
	tokens []int // free buffers
	sizes  []int // of a receive buffer, by token; its slot holds as much
}

const (
	testWindow = 0xc0000000
	// regionSize is the guest memory of each queue: its ring, then its buffers.
	regionSize  = ringSize + 1<<20
	maxTestSize = 256
)

func newGuest(tb tester, s setup) *guest {
	tb.Helper()
	if s.receiveSize == 0 {
		s.receiveSize = 2048
	}
	g := &guest{tb: tb, s: s, irqs: pcitest.NewInterrupts(tb, 0)}
	d, err := New(Config{Name: "net0", Backend: s.backend, MAC: testMAC, IO: s.io, Disable: s.disable, QueueSize: s.queueSize, MTU: s.mtu})
	if err != nil {
		tb.Fatal(err)
	}
	g.device = d
	newMemory := memory.NewHeap
	if s.mapped {
		newMemory = memory.New
	}
	m, err := newMemory(uint64(len(d.stats)) * regionSize)
	if err != nil {
		tb.Fatal(err)
	}
	g.ram, _ = m.Bytes(0, m.Size())
	g.memory = m
	g.t, err = virtio.NewPCI(d, virtio.Config{Name: "net0", Memory: m, Vectors: g.irqs, Disable: s.transport, Observe: g.observe})
	if err != nil {
		tb.Fatal(err)
	}
	if g.segment, err = pci.NewSegment(pcitest.NewDecoder(tb), pci.Window{Base: testWindow, Size: 1 << 20}); err != nil {
		tb.Fatal(err)
	}
	if err := errors.Join(g.segment.Attach(pci.Address{Device: 1}, g.t.Function()), g.segment.Place()); err != nil {
		tb.Fatal(err)
	}
	g.enableMSIX()
	return g
}

// close takes everything down, the backend last.
func (g *guest) close() {
	g.segment.Reset()
	if err := errors.Join(g.t.Close(), g.device.Close(), g.s.backend.Close(), g.memory.Close()); err != nil {
		g.tb.Error(err)
	}
}

func (g *guest) observe(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.faults = append(g.faults, err)
}

func (g *guest) observed() []error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]error(nil), g.faults...)
}

func (g *guest) write(off uint64, width int, v uint64) {
	g.t.Function().BARs()[0].Handler.Write(off, binary.LittleEndian.AppendUint64(nil, v)[:width])
}

func (g *guest) read(off uint64, width int) uint64 {
	var p [8]byte
	g.t.Function().BARs()[0].Handler.Read(off, p[:width])
	return binary.LittleEndian.Uint64(p[:])
}

// Registers of the common configuration, and where the other structures are.
const (
	regDeviceFeatureSelect, regDeviceFeature = 0, 4
	regDriverFeatureSelect, regDriverFeature = 8, 12
	regConfigVector, regStatus               = 16, 20
	regQueueSelect, regQueueSize             = 22, 24
	regQueueVector, regQueueEnable           = 26, 28
	regQueueDesc, regQueueDriver             = 32, 40
	regQueueDevice, regQueueReset            = 48, 58
	deviceConfig, notifyAt                   = 0x100, 0x400

	statusReady, statusRunning = 11, 15
)

func (g *guest) enableMSIX() {
	ecam := g.segment.ECAM()
	var b [1]byte
	for at := uint64(0x34); ; {
		ecam.Read(1<<15|at, b[:])
		at = uint64(b[0])
		if at == 0 {
			g.tb.Fatal("no MSI-X")
		}
		ecam.Read(1<<15|at, b[:])
		if b[0] == pci.CapMSIX {
			ecam.Write(1<<15|(at+3), []byte{0x80})
			break
		}
		at++
	}
	for n := range uint64(g.t.MSIX().Len()) {
		msix := g.t.Function().BARs()[1].Handler
		msix.Write(16*n, []byte{0, 0, 0xe0, 0xfe, 0, 0, 0, 0})
		msix.Write(16*n+8, []byte{byte(0x30 + n), 0, 0, 0, 0, 0, 0, 0})
	}
}

// interrupts is how many messages came for a queue.
func (g *guest) interrupts(queue int) uint64 {
	return g.t.MSIX().Vector(queue + 1).(*pcitest.Vector).Total()
}

// start is the driver's initialization: vector n+1 is queue n's.
func (g *guest) start() *guest {
	g.tb.Helper()
	g.write(regStatus, 1, 0)
	g.write(regStatus, 1, 3)
	var offered uint64
	for i := range uint64(2) {
		g.write(regDeviceFeatureSelect, 4, i)
		offered |= g.read(regDeviceFeature, 4) << (32 * i)
	}
	g.features = offered &^ g.s.refuse
	for i := range uint64(2) {
		g.write(regDriverFeatureSelect, 4, i)
		g.write(regDriverFeature, 4, g.features>>(32*i)&0xffffffff)
	}
	g.write(regStatus, 1, statusReady)
	if g.read(regStatus, 1) != statusReady {
		g.tb.Fatalf("features %#x are refused: %v", g.features, g.observed())
	}
	g.write(regConfigVector, 2, 0)
	g.queues, g.control = nil, nil
	last := g.device.controlIndex()
	if g.features&(FeatureMQ|FeatureRSS) == 0 {
		last = 2
	}
	for i := range last + 1 {
		if i == last && g.features&FeatureCtrlVQ == 0 {
			break
		}
		g.queues = append(g.queues, g.enable(i))
	}
	if g.features&FeatureCtrlVQ != 0 {
		g.control = g.queues[last]
		g.control.slot = 8192
		g.control.tokens = []int{0, 1, 2, 3}
	}
	g.write(regStatus, 1, statusRunning)
	for i, q := range g.queues {
		if i%2 == 0 && q != g.control {
			q.refill()
		}
	}
	return g
}

// enable sets a queue up and enables it.
func (g *guest) enable(i int) *vq {
	q := &vq{g: g, index: i, base: uint64(i) * regionSize}
	g.write(regQueueSelect, 2, uint64(i))
	q.size = int(g.read(regQueueSize, 2))
	if q.size > maxTestSize {
		q.size = maxTestSize
		g.write(regQueueSize, 2, uint64(q.size))
	}
	region := g.ram[q.base : q.base+ringSize]
	clear(region)
	ev, in := g.features&eventIdx != 0, g.features&indirect != 0
	if g.features&packed != 0 {
		q.ring = newPackedRing(region, q.base, q.size, ev, in)
	} else {
		q.ring = newSplitRing(region, q.base, q.size, ev, in)
	}
	q.slot = 72 << 10
	if i%2 == 0 {
		q.slot = (g.s.receiveSize + 15) &^ 15
	}
	for n := range min(q.size, (regionSize-ringSize)/q.slot) {
		q.tokens = append(q.tokens, n)
	}
	g.write(regQueueVector, 2, uint64(i+1))
	g.write(regQueueDesc, 8, q.base+descAt)
	g.write(regQueueDriver, 8, q.base+driverAt)
	g.write(regQueueDevice, 8, q.base+deviceAt)
	q.enableInterrupts()
	g.write(regQueueEnable, 2, 1)
	return q
}
