package bootparam

import "doorbell/guest/memory"

const initrdAlign = 4096

// PlaceInitrd returns where an initrd of size bytes goes: as high as the
// kernel's initrd_addr_max and the low RAM allow, page-aligned, so that it is
// out of the way of the kernel's early allocations. It must not reach below
// floor, the end of the kernel. It reports whether there is room.
func PlaceInitrd(h SetupHeader, ram []memory.Region, floor, size uint64) (uint64, bool) {
	if len(ram) == 0 {
		return 0, false
	}
	top := min(h.InitrdAddrMax()+1, ram[0].GPA+ram[0].Size)
	if size > top {
		return 0, false
	}
	gpa := (top - size) &^ (initrdAlign - 1)
	return gpa, gpa >= max(floor, BIOSEnd)
}
