package bootparam

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"doorbell/guest/memory"
)

// The PC's memory below 1 MiB, as every x86 kernel expects it.
const (
	EBDAStart = 0x9fc00  // the extended BIOS data area, 1 KiB
	EBDAEnd   = 0xa0000  // from here video memory, not RAM for the kernel
	BIOSStart = 0xe0000  // the BIOS area; ACPI's RSDP is searched for here
	BIOSEnd   = 0x100000 // 1 MiB: from here RAM is the kernel's
)

// E820Type is the type of an address range (ACPI specification, "System Address
// Map Interfaces").
type E820Type uint32

// The types that doorbell uses.
const (
	E820RAM      E820Type = 1
	E820Reserved E820Type = 2
)

func (t E820Type) String() string {
	switch t {
	case E820RAM:
		return "RAM"
	case E820Reserved:
		return "reserved"
	}
	return fmt.Sprintf("type %d", uint32(t))
}

// E820Entry is one range of the memory map.
type E820Entry struct {
	Addr uint64
	Size uint64 // in bytes
	Type E820Type
}

const (
	e820EntrySize  = 20  // struct boot_e820_entry is packed
	maxE820Entries = 128 // E820_MAX_ENTRIES_ZEROPAGE
)

func (e E820Entry) put(b []byte) {
	binary.LittleEndian.PutUint64(b, e.Addr)
	binary.LittleEndian.PutUint64(b[8:], e.Size)
	binary.LittleEndian.PutUint32(b[16:], uint32(e.Type))
}

// E820Map describes RAM and the PC's own reserved areas, with the machine's
// further ranges in extra (for example PCI's memory-mapped configuration
// space). The result is sorted by address; ranges that overlap are refused,
// since the kernel would resolve them by rules of its own.
func E820Map(ram []memory.Region, extra []E820Entry) ([]E820Entry, error) {
	m := []E820Entry{
		{EBDAStart, EBDAEnd - EBDAStart, E820Reserved},
		{BIOSStart, BIOSEnd - BIOSStart, E820Reserved},
	}
	add := func(start, end uint64) {
		if start < end {
			m = append(m, E820Entry{start, end - start, E820RAM})
		}
	}
	for _, r := range ram {
		end := r.GPA + r.Size
		add(r.GPA, min(end, EBDAStart))
		add(max(r.GPA, BIOSEnd), end)
	}
	m = append(m, extra...)
	slices.SortFunc(m, func(a, b E820Entry) int { return cmp.Compare(a.Addr, b.Addr) })
	for i, e := range m {
		if e.Size == 0 || e.Addr+e.Size < e.Addr {
			return nil, fmt.Errorf("memory map: range at %#x has size %#x", e.Addr, e.Size)
		}
		if i > 0 && m[i-1].Addr+m[i-1].Size > e.Addr {
			return nil, fmt.Errorf("memory map: %s at %#x overlaps %s at %#x", e.Type, e.Addr, m[i-1].Type, m[i-1].Addr)
		}
	}
	return m, nil
}
