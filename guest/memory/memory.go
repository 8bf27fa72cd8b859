package memory

import "fmt"

// The hole below 4 GiB that is left to the interrupt controllers, PCI and
// firmware. RAM that would lie in it continues at HoleEnd.
const (
	HoleStart = 3 << 30
	HoleEnd   = 4 << 30
)

const (
	pageSize     = 4 << 10
	hugePageSize = 2 << 20

	// maxSize keeps every guest address below the 52 bits that x86-64 page
	// tables can hold and every host size within an int.
	maxSize = 1 << 46
)

// Region is one contiguous piece of guest RAM.
type Region struct {
	GPA  uint64 // guest physical address of the first byte
	Size uint64 // in bytes
	Host []byte // the same bytes in this process, len(Host) == Size
}

// end is the first guest address behind the region.
func (r *Region) end() uint64 { return r.GPA + r.Size }

// Memory is one guest's RAM. Its layout does not change between New and Close,
// so any number of threads may use it; Close must come after the last use of
// any slice that Bytes or Regions gave out. The contents are shared with the
// guest and are not protected by any lock.
type Memory struct {
	size    uint64
	regions []Region
	mapping *mapping // nil when RAM is ordinary heap memory
}

// New reserves size bytes of guest RAM. Nothing is touched: the host commits a
// page when it is first used, so sizes beyond the host's RAM are accepted.
func New(size uint64) (*Memory, error) {
	if err := checkSize(size); err != nil {
		return nil, err
	}
	mp, err := newMapping(size)
	if err != nil {
		return nil, fmt.Errorf("guest memory of %s: %w", FormatSize(size), err)
	}
	return &Memory{size: size, regions: layout(mp.ram), mapping: mp}, nil
}

// NewHeap is New over ordinary Go memory, for tests: the race detector sees
// accesses to heap memory and does not see those to a mapping of its own.
func NewHeap(size uint64) (*Memory, error) {
	if err := checkSize(size); err != nil {
		return nil, err
	}
	return &Memory{size: size, regions: layout(make([]byte, size))}, nil
}

func checkSize(size uint64) error {
	switch {
	case size == 0:
		return fmt.Errorf("guest memory: size is zero")
	case size%pageSize != 0:
		return fmt.Errorf("guest memory: size %d is not a multiple of 4 KiB", size)
	case size > maxSize:
		return fmt.Errorf("guest memory: size %d is more than the supported 64 TiB", size)
	}
	return nil
}

// layout cuts the host bytes at the hole.
func layout(host []byte) []Region {
	size := uint64(len(host))
	if size <= HoleStart {
		return []Region{{GPA: 0, Size: size, Host: host}}
	}
	return []Region{
		{GPA: 0, Size: HoleStart, Host: host[:HoleStart:HoleStart]},
		{GPA: HoleEnd, Size: size - HoleStart, Host: host[HoleStart:]},
	}
}

// Size returns the amount of RAM in bytes; the hole does not count.
func (m *Memory) Size() uint64 { return m.size }

// Regions returns the one or two pieces of RAM, lowest first. The caller must
// not change the returned slice. After Close it is empty.
func (m *Memory) Regions() []Region { return m.regions }

// Bytes returns the n bytes of RAM at gpa. The range must lie within one
// region: RAM on the two sides of the hole is never joined. An empty range is
// accepted wherever a region begins, continues or ends. The error is a
// *RangeError. Bytes does not allocate when it succeeds, and the slice cannot
// be grown beyond the range.
func (m *Memory) Bytes(gpa, n uint64) ([]byte, error) {
	for i := range m.regions {
		r := &m.regions[i]
		if gpa < r.GPA || gpa > r.end() {
			continue
		}
		off := gpa - r.GPA
		if n > r.Size-off {
			break
		}
		return r.Host[off : off+n : off+n], nil
	}
	return nil, &RangeError{GPA: gpa, Len: n, Size: m.size}
}

// ReadAt copies len(p) bytes of RAM at gpa into p, all or nothing.
func (m *Memory) ReadAt(p []byte, gpa uint64) error {
	b, err := m.Bytes(gpa, uint64(len(p)))
	if err != nil {
		return err
	}
	copy(p, b)
	return nil
}

// WriteAt copies p into RAM at gpa, all or nothing.
func (m *Memory) WriteAt(p []byte, gpa uint64) error {
	b, err := m.Bytes(gpa, uint64(len(p)))
	if err != nil {
		return err
	}
	copy(b, p)
	return nil
}

// Zero clears n bytes of RAM at gpa. Whole huge pages inside the range are
// given back to the host, which hands out zeros at the next touch: clearing
// fresh memory therefore does not commit it. Memory that a device has pinned
// for DMA must not be cleared this way.
func (m *Memory) Zero(gpa, n uint64) error {
	b, err := m.Bytes(gpa, n)
	if err != nil {
		return err
	}
	if m.mapping != nil {
		// The hole begins and ends on a huge page, so a guest address and
		// its host address agree modulo the size of one.
		head := -gpa % hugePageSize
		if head < n {
			whole := (n - head) &^ (hugePageSize - 1)
			if whole > 0 && release(b[head:head+whole]) == nil {
				clear(b[:head])
				clear(b[head+whole:])
				return nil
			}
		}
	}
	clear(b)
	return nil
}

// ResidentBytes returns how much of guest RAM the host has committed, as the
// kernel accounts it for exactly this mapping.
func (m *Memory) ResidentBytes() (uint64, error) {
	if m.mapping == nil {
		return 0, fmt.Errorf("guest memory: resident size: RAM is not a mapping of its own")
	}
	n, err := m.mapping.resident()
	if err != nil {
		return 0, fmt.Errorf("guest memory: resident size: %w", err)
	}
	return n, nil
}

// Close gives guest RAM back to the host. Later calls of Bytes fail; slices
// obtained earlier must not be used any more. A second Close does nothing.
func (m *Memory) Close() error {
	mp := m.mapping
	m.regions, m.mapping = nil, nil
	if mp == nil {
		return nil
	}
	if err := mp.close(); err != nil {
		return fmt.Errorf("guest memory: unmap: %w", err)
	}
	return nil
}
