package memory

import (
	"os"
	"reflect"

	"golang.org/x/sys/unix"
)

// mapping is guest RAM in the host's address space: an anonymous private
// mapping with inaccessible guards on both sides. The guards turn a host bug
// into a fault, and keep the kernel from merging RAM with a neighbouring
// mapping, so that smaps has entries of its own for it.
type mapping struct {
	reserved []byte // everything that was mapped, guards included
	ram      []byte // the accessible part, aligned to hugePageSize
}

// newMapping maps size bytes, which is a multiple of pageSize. It commits
// nothing: MAP_NORESERVE also keeps sparse guests out of the host's overcommit
// accounting.
func newMapping(size uint64) (*mapping, error) {
	reserved, err := unix.Mmap(-1, 0, int(size+2*hugePageSize), unix.PROT_NONE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	base := uint64(address(reserved))
	start := (base+hugePageSize)&^(hugePageSize-1) - base
	ram := reserved[start : start+size : start+size]
	if err := unix.Mprotect(ram, unix.PROT_READ|unix.PROT_WRITE); err != nil {
		_ = unix.Munmap(reserved)
		return nil, os.NewSyscallError("mprotect", err)
	}
	// Both are advice: a host without transparent huge pages runs guests
	// too, with more page faults.
	_ = unix.Madvise(ram, unix.MADV_HUGEPAGE)
	_ = unix.Madvise(ram, unix.MADV_DONTDUMP)
	return &mapping{reserved: reserved, ram: ram}, nil
}

func (mp *mapping) close() error {
	return os.NewSyscallError("munmap", unix.Munmap(mp.reserved))
}

// release drops whole pages; their next reader finds zeros.
func release(b []byte) error {
	return unix.Madvise(b, unix.MADV_DONTNEED)
}

// address is where b lies in this process. The collector does not move
// mappings, so the number stays true.
func address(b []byte) uintptr { return reflect.ValueOf(b).Pointer() }

// resident sums the Rss of the mapping's parts.
func (mp *mapping) resident() (uint64, error) {
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	lo := uint64(address(mp.ram))
	return sumRss(f, lo, lo+uint64(len(mp.ram)))
}
