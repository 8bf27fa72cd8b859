package pci

import (
	"encoding/binary"
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

// MSIX is a function's MSI-X capability with its table and pending bit array. As the specification allows, what a guest writes to a live
// vector's message takes effect when the vector is next unmasked.
type MSIX struct {
	set vectors // the guest's mask bits are in the table

	enabled atomic.Bool // as mu guards it; atomic for Enabled

	mu       sync.Mutex // guards what follows and the vectors' state; held inside the segment's lock
	funcMask bool
	table    []byte // what the guest reads
}

// NewMSIX makes n vectors for a device. onError hears of routes that could not be set or connected, which leave a vector pending.
func NewMSIX(device string, n int, ways Vectors, onError func(error)) (*MSIX, error) {
	if n < 1 || n > MaxVectors {
		return nil, fmt.Errorf("pci function %s: MSI-X with %d vectors: 1 to %d are possible", device, n, MaxVectors)
	}
	m := &MSIX{table: make([]byte, n*msixEntry)}
	m.set = vectors{device: device, kind: "MSI-X", ways: ways, onError: onError, unmasked: m.unmasked, message: m.message}
	if err := m.set.open(n); err != nil {
		return nil, err
	}
	m.clear()
	return m, nil
}

// SetSource says who fires the vectors, before the function is attached to a segment.
func (m *MSIX) SetSource(s Source) { m.set.source = s }

// MSIXPlace is where the table and the pending bit array are: at an offset in a BAR each. The owner routes accesses there to ReadTable,
// WriteTable and ReadPBA.
type MSIXPlace struct {
	TableBAR    int
	TableOffset uint32
	PBABAR      int
	PBAOffset   uint32
}

// Attach adds the capability to a function, where there is room. The function's reset resets MSI-X.
func (m *MSIX) Attach(f *Function, p MSIXPlace) error { return m.AttachAt(f, f.capFree, p) }

// AttachAt is Attach at an offset in the configuration space.
func (m *MSIX) AttachAt(f *Function, at int, p MSIXPlace) error {
	if p.TableOffset%8 != 0 || p.PBAOffset%8 != 0 || uint(p.TableBAR) >= maxBARs || uint(p.PBABAR) >= maxBARs {
		return fmt.Errorf("pci function %s: MSI-X table or pending bits not at a quadword of a BAR", f.Name)
	}
	body := binary.LittleEndian.AppendUint16(nil, uint16(len(m.set.all)-1))
	body = binary.LittleEndian.AppendUint32(body, p.TableOffset|uint32(p.TableBAR))
	body = binary.LittleEndian.AppendUint32(body, p.PBAOffset|uint32(p.PBABAR))
	err := f.AddCapabilityAt(at, CapMSIX, body, []byte{0, msixHighEnable | msixHighFuncMask}, Hooks{AfterWrite: func(c []byte, off, n int) {
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
func (m *MSIX) Len() int { return len(m.set.all) }

// Enabled says whether the guest has switched MSI-X on.
func (m *MSIX) Enabled() bool { return m.enabled.Load() }

// Fire sends vector n's message, or makes it pending; a number beyond the table is no vector. What is fired while MSI-X is disabled
// is lost. No lock, no allocation: one write(2).
func (m *MSIX) Fire(n int) { m.set.fire(n) }

// Vector is vector n, for what hands its eventfd to the kernel.
func (m *MSIX) Vector(n int) Vector { return m.set.all[n].way }

// unmasked says whether the guest wants vector n to deliver.
func (m *MSIX) unmasked(n int) bool {
	return m.enabled.Load() && !m.funcMask && m.table[n*msixEntry+entryControl]&entryMask == 0
}

// message is what the guest has written for vector n.
func (m *MSIX) message(n int) Message {
	e := m.table[n*msixEntry:]
	return Message{Address: binary.LittleEndian.Uint64(e[entryAddress:]), Data: binary.LittleEndian.Uint32(e[entryData:])}
}

// control is a write to the message control register.
func (m *MSIX) control(enable, mask bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	was := m.enabled.Load()
	m.funcMask = mask
	if enable && !was {
		m.set.enable()
	}
	m.enabled.Store(enable)
	m.set.update()
	if was && !enable {
		m.set.disable()
	}
}

// Reset masks and clears everything and gives the GSIs back.
func (m *MSIX) Reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.enabled.Store(false)
	m.funcMask = false
	m.set.update()
	m.set.disable()
	m.clear()
	m.set.drain()
}

// Close releases the vectors. Nothing may fire them any more.
func (m *MSIX) Close() error {
	m.Reset()
	return m.set.close()
}

// clear gives the table its values after reset: all zero but the mask bits (section 6.8.2.9).
func (m *MSIX) clear() {
	clear(m.table)
	for i := range m.set.all {
		m.table[i*msixEntry+entryControl] = entryMask
	}
}
