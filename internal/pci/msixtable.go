package pci

import "fmt"

// A table entry (section 6.8.2.6 and following).
const (
	entryAddress = 0
	entryData    = 8
	entryControl = 12
	entryMask    = 1 << 0 // in the vector control
)

// entryWritable are the bits of an entry that hold what is written: the address is that of a doubleword, and of the vector
// control only the mask bit is not reserved.
var entryWritable = [2]uint64{^uint64(3), entryMask<<32 | 0xffffffff}

// TableSize is the number of bytes of the table.
func (m *MSIX) TableSize() uint64 { return uint64(len(m.table)) }

// PBASize is the number of bytes of the pending bit array.
func (m *MSIX) PBASize() uint64 { return uint64(len(m.set.all)+63) / 64 * msixPBAGrain }

// ReadTable is a read of the table.
func (m *MSIX) ReadTable(off uint64, p []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(p)
	if off < uint64(len(m.table)) {
		copy(p, m.table[off:])
	}
}

// WriteTable is a write to the table. Software must use aligned doublewords and quadwords (section 6.8.2); other writes are undefined and
// ignored here.
func (m *MSIX) WriteTable(off uint64, p []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := uint64(len(p))
	if n != 4 && n != 8 || off%n != 0 || off >= uint64(len(m.table)) {
		return
	}
	writable := entryWritable[off/8%2] >> (8 * (off % 8))
	for i, v := range p {
		mask := byte(writable >> (8 * i))
		at := off + uint64(i)
		m.table[at] = m.table[at]&^mask | v&mask
	}
	// Only the vector control has an effect; a quadword brings it together with the data.
	if (off+n)%msixEntry == 0 {
		entry := int(off / msixEntry)
		m.set.updateRange(entry, entry+1)
	}
}

// ReadPBA is a read of the pending bit array. A live vector has nothing pending; of the others the eventfds tell.
func (m *MSIX) ReadPBA(off uint64, p []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(p)
	if !m.enabled.Load() || off >= m.PBASize() {
		return
	}
	for i := range p {
		for bit := range uint64(8) {
			n := (off+uint64(i))*8 + bit
			if n >= uint64(len(m.set.all)) {
				return
			}
			v := &m.set.all[n]
			if v.live {
				continue
			}
			if m.set.collect(v); v.pending {
				p[i] |= 1 << bit
			}
		}
	}
}

// tableRegisters are the names of an entry's doublewords.
var tableRegisters = [...]string{"address", "upper address", "data", "control"}

// TableRegisterName names a register of the table.
func (m *MSIX) TableRegisterName(off uint64) string {
	return fmt.Sprintf("MSI-X %d %s", off/msixEntry, tableRegisters[off%msixEntry/4])
}
