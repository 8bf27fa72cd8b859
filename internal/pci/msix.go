package pci

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// Dimensions of MSI-X (section 6.8.2).
const (
	MaxVectors   = 2048
	msixEntry    = 16 // bytes of a table entry
	msixPBAGrain = 8  // the pending bit array is made of quadwords
)

// Message control (section 6.8.2.3), as bytes of the capability.
const (
	msixControl      = 2 // offset of the register in the capability
	msixControlHigh  = msixControl + 1
	msixHighEnable   = 1 << 7 // bit 15
	msixHighFuncMask = 1 << 6 // bit 14
)

// MSIX is a function's MSI-X capability with its table and pending bit array.
//
// A vector is live while MSI-X is enabled and neither its mask bit nor the function mask is set; a live vector is connected. Changes go
// mask → route → unmask: the vectors that a register write masks are disconnected, those it unmasks are routed in one batch where their
// message has changed, and then connected. As the specification allows, what a guest writes to a live vector's message
// takes effect when the vector is next unmasked.
type MSIX struct {
	device  string
	vectors []vector // the slice does not change
	ways    Vectors
	onError func(error)

	enabled atomic.Bool // as mu guards it; atomic for Enabled

	mu       sync.Mutex // guards what follows and the vectors' state; held inside the segment's lock
	funcMask bool
	table    []byte // what the guest reads
}

// vector is one table entry's state. The guest's mask bit is in the table.
type vector struct {
	way     Vector
	pending bool // taken from the eventfd while it was not live
	live    bool
	routed  bool
	route   Message // if routed

	fired       atomic.Uint64
	masked      uint64
	coalesced   uint64
	refired     uint64
	unmaskings  uint64
	routings    uint64
	undelivered uint64
}

// NewMSIX makes n vectors for a device. onError hears of routes that could not be set or connected, which leave a vector pending.
func NewMSIX(device string, n int, ways Vectors, onError func(error)) (*MSIX, error) {
	if n < 1 || n > MaxVectors {
		return nil, fmt.Errorf("pci function %s: MSI-X with %d vectors: 1 to %d are possible", device, n, MaxVectors)
	}
	m := &MSIX{device: device, ways: ways, onError: onError, vectors: make([]vector, n), table: make([]byte, n*msixEntry)}
	for i := range m.vectors {
		w, err := ways.NewVector(device, i)
		if err != nil {
			m.vectors = m.vectors[:i]
			return nil, errors.Join(fmt.Errorf("pci function %s: MSI-X vector %d: %w", device, i, err), m.Close())
		}
		m.vectors[i].way = w
	}
	m.clear()
	return m, nil
}

// Attach adds the capability to a function. The table starts at tableOffset of BAR tableBAR, the pending bit array likewise;
// the caller routes accesses there to Table and PBA. The function's reset resets MSI-X.
func (m *MSIX) Attach(f *Function, tableBAR int, tableOffset uint32, pbaBAR int, pbaOffset uint32) error {
	if tableOffset%8 != 0 || pbaOffset%8 != 0 || uint(tableBAR) >= maxBARs || uint(pbaBAR) >= maxBARs {
		return fmt.Errorf("pci function %s: MSI-X table or pending bits not at a quadword of a BAR", f.Name)
	}
	body := binary.LittleEndian.AppendUint16(nil, uint16(len(m.vectors)-1))
	body = binary.LittleEndian.AppendUint32(body, tableOffset|uint32(tableBAR))
	body = binary.LittleEndian.AppendUint32(body, pbaOffset|uint32(pbaBAR))
	_, err := f.AddCapability(CapMSIX, body, []byte{0, msixHighEnable | msixHighFuncMask}, Hooks{AfterWrite: func(c []byte, off, n int) {
		if off <= msixControlHigh && off+n > msixControlHigh {
			m.control(c[msixControlHigh]&msixHighEnable != 0, c[msixControlHigh]&msixHighFuncMask != 0)
		}
	}})
	if err == nil {
		f.OnReset(m.Reset)
	}
	return err
}

// Len is the number of vectors.
func (m *MSIX) Len() int { return len(m.vectors) }

// Enabled says whether the guest has switched MSI-X on.
func (m *MSIX) Enabled() bool { return m.enabled.Load() }

// Fire sends vector n's message, or makes it pending; a number beyond the table is no vector. What is fired while MSI-X is disabled
// is lost. No lock, no allocation: one write(2).
func (m *MSIX) Fire(n int) {
	if uint(n) >= uint(len(m.vectors)) {
		return
	}
	v := &m.vectors[n]
	v.fired.Add(1)
	v.way.Fire()
}

// Vector is vector n, for what hands its eventfd to the kernel.
func (m *MSIX) Vector(n int) Vector { return m.vectors[n].way }

// control is a write to the message control register.
func (m *MSIX) control(enable, mask bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	was := m.enabled.Load()
	m.funcMask = mask
	if enable && !was {
		m.drain()
	}
	m.enabled.Store(enable)
	m.update()
	if was && !enable {
		m.release()
	}
}

// Reset masks and clears everything and gives the GSIs back.
func (m *MSIX) Reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.enabled.Store(false)
	m.funcMask = false
	m.update()
	m.release()
	m.clear()
	m.drain()
}

// Close releases the vectors. Nothing may fire them any more.
func (m *MSIX) Close() error {
	m.Reset()
	var errs []error
	for i := range m.vectors {
		errs = append(errs, m.ways.Remove(m.vectors[i].way))
	}
	m.vectors = nil
	return errors.Join(errs...)
}

// clear gives the table its values after reset: all zero but the mask bits (section 6.8.2.9).
func (m *MSIX) clear() {
	clear(m.table)
	for i := range m.vectors {
		m.table[i*msixEntry+entryControl] = entryMask
	}
}

// drain forgets what is pending.
func (m *MSIX) drain() {
	for i := range m.vectors {
		if v := &m.vectors[i]; !v.live {
			v.way.Take()
			v.pending = false
		}
	}
}

// release gives all GSIs back. No vector is live.
func (m *MSIX) release() {
	var batch []Vector
	for i := range m.vectors {
		if v := &m.vectors[i]; v.routed && !v.live {
			v.routed = false
			batch = append(batch, v.way)
		}
	}
	if len(batch) > 0 {
		m.ways.Release(batch)
	}
}

func (m *MSIX) fail(n int, err error) {
	if m.onError != nil {
		m.onError(fmt.Errorf("pci function %s: MSI-X vector %d: %w", m.device, n, err))
	}
}
