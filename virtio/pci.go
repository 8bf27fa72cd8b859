package virtio

import (
	"errors"
	"fmt"
	"math/bits"
	"sync"
	"sync/atomic"

	"doorbell/guest/memory"
	"doorbell/internal/pci"
)

// Config is what a transport needs of the machine.
type Config struct {
	Name      string
	Memory    *memory.Memory
	Vectors   pci.Vectors
	Doorbells Doorbells
	// NumVectors is the number of MSI-X vectors; 0 means one for each queue and one for configuration changes.
	NumVectors int
	// Disable are features that are not offered; VIRTIO_F_VERSION_1 always is.
	Disable uint64
	// Observe, if not nil, hears of everything that was wrong with the driver or the wiring. Any thread may call it, some with locks
	// held: it must not wait and not use the device. A guest decides how often.
	Observe func(error)
}

// PCI identities (section 4.1.2).
const (
	vendorID        = 0x1af4
	deviceIDBase    = 0x1040
	revisionID      = 1
	subsystemIDBase = 0x1100
)

// noVector is VIRTIO_MSI_NO_VECTOR.
const noVector = 0xffff

// PCI is the transport of one device: its PCI function and the structures of section 4.1.4.
type PCI struct {
	name      string
	device    Device
	info      Info
	offered   uint64
	memory    *memory.Memory
	doorbells Doorbells
	observe   func(error)
	function  *pci.Function
	msix      *pci.MSIX
	slots     []slot // the slice does not change

	// What I/O threads use too.
	status       atomic.Uint32 // changed with mu held, but for DEVICE_NEEDS_RESET
	isr          atomic.Uint32
	generation   atomic.Uint32
	configVector atomic.Uint32
	// negotiated is what a driver's FEATURES_OK was last accepted with; a reset leaves it. Changed with mu held.
	negotiated atomic.Uint64

	// mu guards the registers below and the slots' registers. It is held during calls of the device and may be taken inside the
	// segment's lock. I/O threads never take it.
	mu                  sync.Mutex
	deviceFeatureSelect uint32
	driverFeatureSelect uint32
	driverFeatures      uint64
	queueSelect         uint16
	active              bool // Activate succeeded, and no reset since
}

// slot is the registers of one queue.
type slot struct {
	max    uint16
	vector atomic.Uint32 // changed with mu held
	// lastVector is one more than the last vector that was not NO_VECTOR; 0 before there was one.
	lastVector atomic.Uint32
	kick       *eventFD
	stats      QueueStats
	// doorbell says that the kernel signals kick; guarded by the segment's lock.
	doorbell bool

	size                 uint16
	desc, driver, device uint64
	queue                *Queue // if enabled
}

// NewPCI makes a device's transport. Its Function is to be attached to the bus, and Close called when it is not used any more.
func NewPCI(d Device, c Config) (_ *PCI, err error) {
	info := d.Info()
	n := len(info.QueueSizes)
	if n < 1 || n > maxQueues || info.ConfigSize < 0 || info.ConfigSize > deviceSize || info.Features&reservedFeatures != 0 {
		return nil, fmt.Errorf("virtio device %s: %d queues, %d bytes of configuration or features %#x are not possible", c.Name, n, info.ConfigSize, info.Features)
	}
	t := &PCI{
		name: c.Name, device: d, info: info, memory: c.Memory, doorbells: c.Doorbells, observe: c.Observe,
		offered: (info.Features | transportFeatures) &^ (c.Disable &^ FeatureVersion1), slots: make([]slot, n),
	}
	d.Bind(t)
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("virtio device %s: %w", c.Name, err), t.Close())
		}
	}()
	for i, size := range info.QueueSizes {
		if size < 1 || size > maxQueueSize || bits.OnesCount(uint(size)) != 1 {
			return nil, fmt.Errorf("queue %d: size %d is not a power of two up to %d", i, size, maxQueueSize)
		}
		t.slots[i].max = uint16(size)
		if t.slots[i].kick, err = newEventFD(); err != nil {
			return nil, err
		}
	}
	vectors := c.NumVectors
	if vectors == 0 {
		vectors = n + 1
	}
	if t.msix, err = pci.NewMSIX(c.Name, vectors, c.Vectors, t.report); err != nil {
		return nil, err
	}
	if err = t.createFunction(); err != nil {
		return nil, err
	}
	t.clearRegisters()
	return t, nil
}

// createFunction makes the PCI function with both BARs and all capabilities.
func (t *PCI) createFunction() error {
	t.function = pci.NewFunction(t.name, pci.Identity{
		VendorID: vendorID, DeviceID: deviceIDBase + t.info.Type, RevisionID: revisionID,
		SubsystemVendorID: vendorID, SubsystemID: subsystemIDBase,
		BaseClass: t.info.BaseClass, SubClass: t.info.SubClass,
	})
	t.function.OnReset(t.busReset)
	table := structures{
		{commonOffset, commonSize, t.readCommon, t.writeCommon, commonName},
		{isrOffset, isrSize, t.readISR, nil, func(int) string { return "ISR status" }},
		{deviceOffset, uint64(t.info.ConfigSize), t.readDevice, t.writeDevice, func(off int) string { return fmt.Sprintf("device config %#x", off) }},
		{notifyOffset, uint64(len(t.slots)) * notifyMultiplier, nil, t.writeNotify, func(off int) string { return fmt.Sprintf("notify queue %d", off/notifyMultiplier) }},
	}
	msixSize := t.msix.TableSize() + t.msix.PBASize()
	return errors.Join(
		t.function.AddBAR(&pci.BAR{Index: structuresBAR, Size: 0x1000, Handler: table, Moved: t.moved}),
		t.function.AddBAR(&pci.BAR{Index: msixBAR, Size: max(0x1000, uint64(1)<<bits.Len64(msixSize-1)), Handler: msixHandler{t}}),
		t.addCapabilities(),
		t.msix.Attach(t.function, pci.MSIXPlace{TableBAR: msixBAR, PBABAR: msixBAR, PBAOffset: uint32(t.msix.TableSize())}),
	)
}

// busReset is the segment's reset.
func (t *PCI) busReset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reset()
}

// Function is the device on the bus.
func (t *PCI) Function() *pci.Function { return t.function }

// MSIX is the device's vectors.
func (t *PCI) MSIX() *pci.MSIX { return t.msix }

// NumQueues is the number of queues.
func (t *PCI) NumQueues() int { return len(t.slots) }

// Features are those that are offered, and those that a driver negotiated last, also if it has reset the device since; 0 if none ever did.
func (t *PCI) Features() (offered, negotiated uint64) { return t.offered, t.negotiated.Load() }

// QueueStats is the account of queue n.
func (t *PCI) QueueStats(n int) *QueueStats { return &t.slots[n].stats }

// QueueVector is the MSI-X vector of queue n, or the last one that it had before a reset; ok is false if it never had one.
func (t *PCI) QueueVector(n int) (vector int, ok bool) {
	v := t.slots[n].lastVector.Load()
	return int(v) - 1, v > 0
}

// NeedsReset says whether the device has given up on its driver until the next reset.
func (t *PCI) NeedsReset() bool { return t.status.Load()&statusNeedsReset != 0 }

// Close ends the device's use of its queues and frees vectors and eventfds. The guest does not run any more, and the segment has been
// reset, which removed the doorbells.
func (t *PCI) Close() error {
	var errs []error
	if t.function != nil {
		t.busReset()
	}
	if t.msix != nil {
		errs = append(errs, t.msix.Close())
	}
	for i := range t.slots {
		if k := t.slots[i].kick; k != nil {
			errs = append(errs, k.close())
			t.slots[i].kick = nil
		}
	}
	return errors.Join(errs...)
}

func (t *PCI) report(err error) {
	if t.observe != nil {
		t.observe(fmt.Errorf("virtio device %s: %w", t.name, err))
	}
}
