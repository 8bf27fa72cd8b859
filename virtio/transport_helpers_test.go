package virtio

import (
	"encoding/binary"
	"errors"
	"sync"

	"doorbell/guest/memory"
	"doorbell/internal/pci"
	"doorbell/internal/pci/pcitest"
)

// tester is a *testing.T, or rapid's.
type tester interface {
	pcitest.TB
	Error(args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// testDevice is a device of two queues that checks the promises of the transport.
type testDevice struct {
	tb         tester
	host       Host
	config     [12]byte
	refuse     bool // FEATURES_OK
	broken     bool // Activate
	active     bool
	queues     []*Queue
	resets     int
	negotiated uint64
}

const testFeatures = 1<<0 | 1<<5

func (d *testDevice) Info() Info {
	return Info{Type: 1, BaseClass: 2, Features: testFeatures, QueueSizes: []int{8, 16}, ConfigSize: len(d.config)}
}
func (d *testDevice) Bind(h Host) { d.host = h }
func (d *testDevice) ReadConfig(off int, p []byte) {
	copy(p, d.config[off:off+len(p)])
}
func (d *testDevice) WriteConfig(off int, p []byte) {
	copy(d.config[off:off+len(p)], p)
}
func (d *testDevice) Negotiate(features uint64) error {
	d.negotiated = features
	if d.refuse {
		return errors.New("refused")
	}
	return nil
}
func (d *testDevice) Activate(features uint64, queues []*Queue) error {
	if d.active || features != d.negotiated || len(queues) != 2 {
		d.tb.Errorf("activated: %v, features %#x, %d queues", d.active, features, len(queues))
	}
	if d.broken {
		return errors.New("broken")
	}
	d.active = true
	d.queues = append([]*Queue(nil), queues...)
	return nil
}
func (d *testDevice) StartQueue(q *Queue) error {
	if !d.active || d.queues[q.Index()] != nil {
		d.tb.Errorf("queue %d started: device active %v", q.Index(), d.active)
	}
	d.queues[q.Index()] = q
	return nil
}
func (d *testDevice) StopQueue(n int) {
	if !d.active || d.queues[n] == nil {
		d.tb.Errorf("queue %d stopped: device active %v", n, d.active)
	}
	d.queues[n] = nil
}
func (d *testDevice) Reset() {
	d.active, d.queues = false, nil
	d.resets++
}

// work is the device's thread: it answers everything that is there with nothing.
func (d *testDevice) work() (served int) {
	for _, q := range d.queues {
		if q == nil {
			continue
		}
		q.TakeKicks()
		c := q.NewChain()
		for range 2 * q.Size() {
			if ok, err := q.Pop(c); !ok || err != nil {
				break
			}
			q.Push(c, 0)
			served++
		}
		q.Publish()
		q.Notify()
		q.EnableKicks()
	}
	return served
}

// testDoorbells is the machine's ioeventfds.
type testDoorbells struct {
	tb  tester
	at  map[uint64]int
	bad bool
}

func (d *testDoorbells) AddDoorbell(addr uint64, fd int) error {
	if d.bad {
		return errors.New("no room")
	}
	if _, ok := d.at[addr]; ok {
		d.tb.Errorf("two doorbells at %#x", addr)
	}
	d.at[addr] = fd
	return nil
}
func (d *testDoorbells) RemoveDoorbell(addr uint64, fd int) error {
	if have, ok := d.at[addr]; !ok || have != fd {
		d.tb.Errorf("no doorbell at %#x", addr)
	}
	delete(d.at, addr)
	return nil
}

// guest is a machine with one virtio device at 00:01.0, as its driver sees it.
type guest struct {
	tb      tester
	ram     []byte
	device  *testDevice
	t       *PCI
	segment *pci.Segment
	decoder *pcitest.Decoder
	bells   *testDoorbells
	irqs    *pcitest.Interrupts

	mu     sync.Mutex
	faults []error
}

func (g *guest) observe(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.faults = append(g.faults, err)
}

const guestWindow = 0xc0000000

func newGuest(tb tester) *guest {
	d := &testDevice{tb: tb}
	return newGuestWith(tb, d, d)
}

// newGuestWith is newGuest with a device that d is the inner half of.
func newGuestWith(tb tester, d *testDevice, device Device) *guest {
	tb.Helper()
	m, err := memory.NewHeap(testMemory)
	if err != nil {
		tb.Fatal(err)
	}
	g := &guest{
		tb: tb, device: d, decoder: pcitest.NewDecoder(tb), irqs: pcitest.NewInterrupts(tb, 0),
		bells: &testDoorbells{tb: tb, at: map[uint64]int{}},
	}
	g.ram, _ = m.Bytes(0, testMemory)
	g.t, err = NewPCI(device, Config{Name: "net0", Memory: m, Vectors: g.irqs, Doorbells: g.bells, Observe: g.observe})
	if err != nil {
		tb.Fatal(err)
	}
	if g.segment, err = pci.NewSegment(g.decoder, pci.Window{Base: guestWindow, Size: 1 << 20}); err != nil {
		tb.Fatal(err)
	}
	if err := errors.Join(g.segment.Attach(pci.Address{Device: 1}, g.t.Function()), g.segment.Place()); err != nil {
		tb.Fatal(err)
	}
	return g
}

// close takes everything down and checks that nothing is left.
func (g *guest) close() {
	g.segment.Reset()
	if err := g.t.Close(); err != nil {
		g.tb.Error(err)
	}
	if g.irqs.Vectors() != 0 || g.irqs.GSIs() != 0 || len(g.bells.at) != 0 || len(g.decoder.At) != 0 {
		g.tb.Errorf("left: %d vectors, %d GSIs, %d doorbells, %d BARs", g.irqs.Vectors(), g.irqs.GSIs(), len(g.bells.at), len(g.decoder.At))
	}
}

func (g *guest) bar(n int) pci.Handler { return g.t.Function().BARs()[n].Handler }

func (g *guest) write(off uint64, width int, v uint64) {
	g.bar(0).Write(off, binary.LittleEndian.AppendUint64(nil, v)[:width])
}

func (g *guest) read(off uint64, width int) uint64 {
	var p [8]byte
	g.bar(0).Read(off, p[:width])
	return binary.LittleEndian.Uint64(p[:])
}

func (g *guest) configWrite(register int, p ...byte) {
	g.segment.ECAM().Write(1<<15|uint64(register), p)
}

func (g *guest) configRead(register, width int) uint32 {
	var p [4]byte
	g.segment.ECAM().Read(1<<15|uint64(register), p[:width])
	return binary.LittleEndian.Uint32(p[:])
}

// capabilityAt finds a virtio capability, or MSI-X for kind 0.
func (g *guest) capabilityAt(kind byte) int {
	for at := int(g.configRead(0x34, 1)); at != 0; at = int(g.configRead(at+1, 1)) {
		id := g.configRead(at, 1)
		if id == pci.CapMSIX && kind == 0 || id == pci.CapVendorSpecific && g.configRead(at+3, 1) == uint32(kind) && kind != 0 {
			return at
		}
	}
	g.tb.Fatalf("no capability %d", kind)
	return 0
}

// enableMSIX routes and unmasks all three vectors: 0 for configuration, 1 and 2 for the queues.
func (g *guest) enableMSIX() {
	g.configWrite(g.capabilityAt(0)+3, 0x80)
	for n := range uint64(3) {
		g.bar(1).Write(16*n, []byte{0, 0, 0xe0, 0xfe, 0, 0, 0, 0})
		g.bar(1).Write(16*n+8, []byte{byte(0x30 + n), 0, 0, 0, 0, 0, 0, 0})
	}
}

func (g *guest) fired(n int) uint64 { return g.t.MSIX().Vector(n).(*pcitest.Vector).Total() }

// negotiate goes up to FEATURES_OK and returns the status.
func (g *guest) negotiate(features uint64) uint64 {
	g.write(20, 1, 0)
	g.write(20, 1, statusAcknowledge)
	g.write(20, 1, statusAcknowledge|statusDriver)
	for i := range uint64(2) {
		g.write(8, 4, i)
		g.write(12, 4, features>>(32*i)&0xffffffff)
	}
	g.write(20, 1, statusAcknowledge|statusDriver|statusFeaturesOK)
	return g.read(20, 1)
}

// setQueue writes a queue's registers at the tests' usual place, shifted for every queue, and enables it.
func (g *guest) setQueue(n, size int) {
	shift := uint64(n) * 0x20000
	g.write(22, 2, uint64(n))
	g.write(24, 2, uint64(size))
	g.write(26, 2, uint64(n+1))
	for i, a := range []uint64{descAt, driverAt, deviceAt} {
		g.write(32+8*uint64(i), 4, a+shift)
		g.write(36+8*uint64(i), 4, 0)
	}
	g.write(28, 2, 1)
}

// start brings the device up with both queues.
func (g *guest) start(features uint64) {
	g.tb.Helper()
	g.enableMSIX()
	g.configWrite(4, 6)
	if s := g.negotiate(features); s&statusFeaturesOK == 0 {
		g.tb.Fatalf("status %#x", s)
	}
	g.write(16, 2, 0)
	g.setQueue(0, 8)
	g.setQueue(1, 8)
	g.write(20, 1, 0xf)
}
