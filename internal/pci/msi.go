package pci

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"sync"
)

// Message control of MSI (section 6.8.1.3), and the capability's layout, which has four forms.
const (
	msiMaxVectors = 32

	msiControl  = 2
	msiEnable   = 1 << 0
	msiMultiple = 4 // shift of Multiple Message Enable, log2 of the vectors that the guest uses
	msiCapable  = 1 // shift of Multiple Message Capable
	msi64       = 1 << 7
	msiMaskable = 1 << 8

	msiAddress     = 4
	msiAddressHigh = 8 // with msi64
	msiLog2        = 7 // of a shifted field
)

// MSIForm is what a function's MSI capability can do.
type MSIForm struct {
	Vectors   int  // a power of two up to 32
	Address64 bool // messages above 4 GiB
	Maskable  bool // a mask and a pending bit for each vector
}

// data and mask are where the registers are, pending follows the mask.
func (m MSIForm) data() int {
	if m.Address64 {
		return 12
	}
	return 8
}
func (m MSIForm) mask() int    { return m.data() + 4 }
func (m MSIForm) pending() int { return m.data() + 8 }

// size is the length of the capability: 10, 14, 20 or 24 bytes.
func (m MSIForm) size() int {
	if m.Maskable {
		return m.pending() + 4
	}
	return m.data() + 2
}

// MSI is a function's MSI capability (section 6.8.1). Its registers are in the configuration space; a change of a message takes effect at once.
type MSI struct {
	form MSIForm
	set  vectors

	mu      sync.Mutex // guards what follows and the vectors' state; held inside the segment's lock
	enabled bool
	used    int    // vectors that the guest has enabled
	masked  uint32 // mask bits
	first   Message
}

// NewMSI makes a function's vectors. onError hears of routes that could not be set or connected.
func NewMSI(device string, form MSIForm, ways Vectors, onError func(error)) (*MSI, error) {
	if n := form.Vectors; n < 1 || n > msiMaxVectors || bits.OnesCount(uint(n)) != 1 {
		return nil, fmt.Errorf("pci function %s: MSI with %d vectors: a power of two up to %d is possible", device, n, msiMaxVectors)
	}
	m := &MSI{form: form}
	m.set = vectors{device: device, kind: "MSI", ways: ways, onError: onError, unmasked: m.unmasked, message: m.message, follows: true}
	return m, m.set.open(form.Vectors)
}

// SetSource says who fires the vectors, before the function is attached to a segment.
func (m *MSI) SetSource(s Source) { m.set.source = s }

// AttachAt adds the capability to a function at an offset in the configuration space. The function's reset resets MSI.
func (m *MSI) AttachAt(f *Function, at int) error {
	body := make([]byte, m.form.size()-2)
	writable := make([]byte, len(body))
	control := uint16(bits.TrailingZeros(uint(m.form.Vectors)) << msiCapable)
	if m.form.Address64 {
		control |= msi64
	}
	if m.form.Maskable {
		control |= msiMaskable
	}
	put16, put32 := binary.LittleEndian.PutUint16, binary.LittleEndian.PutUint32
	put16(body, control)
	put16(writable, msiEnable|msiLog2<<msiMultiple)
	put32(writable[msiAddress-2:], ^uint32(3))
	if m.form.Address64 {
		put32(writable[msiAddressHigh-2:], ^uint32(0))
	}
	put16(writable[m.form.data()-2:], 0xffff)
	if m.form.Maskable {
		put32(writable[m.form.mask()-2:], uint32(1<<m.form.Vectors-1))
	}
	err := f.AddCapabilityAt(at, CapMSI, body, writable, Hooks{BeforeRead: m.beforeRead, AfterWrite: m.afterWrite})
	if err == nil {
		f.OnReset(m.Reset)
	}
	return err
}

// beforeRead brings the pending bits up to date.
func (m *MSI) beforeRead(c []byte, off, n int) {
	if p := m.form.pending(); !m.form.Maskable || off+n <= p {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var pending uint32
	for i := range m.set.all {
		v := &m.set.all[i]
		if v.live {
			continue
		}
		if m.set.collect(v); v.pending && m.enabled {
			pending |= 1 << i
		}
	}
	binary.LittleEndian.PutUint32(c[m.form.pending():], pending)
}

// afterWrite takes over what the registers say.
func (m *MSI) afterWrite(c []byte, _, _ int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	control := binary.LittleEndian.Uint16(c[msiControl:])
	m.used = min(1<<(control>>msiMultiple&msiLog2), m.form.Vectors)
	m.first = Message{Address: uint64(binary.LittleEndian.Uint32(c[msiAddress:])), Data: uint32(binary.LittleEndian.Uint16(c[m.form.data():]))}
	if m.form.Address64 {
		m.first.Address |= uint64(binary.LittleEndian.Uint32(c[msiAddressHigh:])) << 32
	}
	if m.form.Maskable {
		m.masked = binary.LittleEndian.Uint32(c[m.form.mask():])
	}
	was := m.enabled
	enable := control&msiEnable != 0
	if enable && !was {
		m.set.enable()
	}
	m.enabled = enable
	m.set.update()
	if was && !enable {
		m.set.disable()
	}
}

func (m *MSI) unmasked(n int) bool { return m.enabled && n < m.used && m.masked>>n&1 == 0 }

// message is that of vector n: the low bits of the data are its number (section 6.8.1.6).
func (m *MSI) message(n int) Message {
	msg := m.first
	msg.Data = msg.Data&^uint32(m.used-1) | uint32(n)
	return msg
}

// Enabled says whether the guest has switched MSI on.
func (m *MSI) Enabled() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.enabled
}

// Vector is vector n, for what hands its eventfd to the kernel.
func (m *MSI) Vector(n int) Vector { return m.set.all[n].way }

// Stats is the account of every vector.
func (m *MSI) Stats() []VectorStats {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.set.stats()
}

// Reset clears everything and gives the GSIs back.
func (m *MSI) Reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.enabled, m.used, m.masked, m.first = false, 1, 0, Message{}
	m.set.update()
	m.set.disable()
	m.set.drain()
}

// Close releases the vectors. Nothing may fire them any more.
func (m *MSI) Close() error {
	m.Reset()
	return m.set.close()
}
