package vfio

import (
	"errors"
	"fmt"
	"os"

	"doorbell/internal/pci"

	"golang.org/x/sys/unix"
)

// Slots is the machine's guest-physical address space. Its methods may be called while vCPUs run.
type Slots interface {
	// Map makes host, which is mapped and stays so, appear at gpa.
	Map(gpa uint64, host []byte) (slot uint32, err error)
	// Unmap undoes Map.
	Unmap(slot uint32, gpa uint64) error
}

// minBAR is the smallest memory BAR that the guest sees: what it cannot share a page with. A smaller one of the device ends with nothing.
const minBAR = 4 << 10

// bar is one of the device's BARs: pieces of it are the guest's memory, the rest answers by exits.
type bar struct {
	p      *Passed
	index  int
	size   uint64 // of the device's region
	pieces []piece

	// Where the MSI-X table and its pending bits are in it; empty ranges where they are not.
	table, pba area
}

// piece is a part of a BAR that the process has mapped.
type piece struct {
	start uint64
	host  []byte
	slot  uint32
	on    bool
}

func (a area) end() uint64 { return a.start + a.size }
func (a area) overlaps(start, n uint64) bool {
	return a.size > 0 && start < a.end() && a.start < start+n
}

// mappable is what of areas is not a page of the table's or the pending bits': accesses to these have to leave the guest, with whatever registers
// share the pages.
func (b *bar) mappable(areas []area) (pages []area) {
	page := uint64(os.Getpagesize())
	for _, a := range areas {
		for at := (a.start + page - 1) &^ (page - 1); at+page <= a.end(); at += page {
			switch n := len(pages); {
			case b.table.overlaps(at, page) || b.pba.overlaps(at, page):
			case n > 0 && pages[n-1].end() == at:
				pages[n-1].size += page
			default:
				pages = append(pages, area{at, page})
			}
		}
	}
	return pages
}

// mapPieces maps what the device allows.
func (b *bar) mapPieces() error {
	r := &b.p.dev.regions[b.index]
	for _, a := range b.mappable(r.areas) {
		host, err := unix.Mmap(b.p.dev.fd, int64(r.offset+a.start), int(a.size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err != nil {
			return fmt.Errorf("%s: map BAR %d at %#x: %w", b.p.dev, b.index, a.start, err)
		}
		b.pieces = append(b.pieces, piece{start: a.start, host: host})
	}
	return nil
}

// moved follows the guest's BAR. A piece that cannot be the guest's memory answers by exits, as the table's pages do.
func (b *bar) moved(base uint64, decoded bool) {
	for i := range b.pieces {
		c := &b.pieces[i]
		var err error
		switch {
		case decoded && !c.on:
			if c.slot, err = b.p.cfg.Slots.Map(base+c.start, c.host); err == nil {
				c.on = true
			}
		case !decoded && c.on:
			err = b.p.cfg.Slots.Unmap(c.slot, base+c.start)
			c.on = false
		}
		if err != nil {
			b.p.cfg.OnError(fmt.Errorf("%s: BAR %d at %#x: %w", b.p.dev, b.index, base, err))
		}
	}
}

// close unmaps the pieces, which are no memory of the guest's any more.
func (b *bar) close() error {
	var errs []error
	for _, c := range b.pieces {
		errs = append(errs, unix.Munmap(c.host))
	}
	b.pieces = nil
	return errors.Join(errs...)
}

// Read implements pci.Handler.
func (b *bar) Read(off uint64, p []byte) {
	n := uint64(len(p))
	switch {
	case b.table.overlaps(off, n):
		b.split(b.table, off, p, b.p.msix.ReadTable, b.Read)
	case b.pba.overlaps(off, n):
		b.split(b.pba, off, p, b.p.msix.ReadPBA, b.Read)
	case off+n > b.size || b.p.gone.Load():
		float(p)
	default:
		b.p.dev.read(b.index, off, p)
	}
}

// Write implements pci.Handler.
func (b *bar) Write(off uint64, p []byte) {
	n := uint64(len(p))
	switch {
	case b.table.overlaps(off, n):
		b.split(b.table, off, p, b.p.msix.WriteTable, b.Write)
	case b.pba.overlaps(off, n):
		b.split(b.pba, off, p, func(uint64, []byte) {}, b.Write) // read-only
	case off+n > b.size || b.p.gone.Load():
	default:
		b.p.dev.write(b.index, off, p)
	}
}

// split has an access, which overlaps a range, done by the range's own handler where it is inside and by outside elsewhere.
func (b *bar) split(r area, off uint64, p []byte, inside, outside func(uint64, []byte)) {
	if off < r.start {
		n := r.start - off
		outside(off, p[:n])
		off, p = r.start, p[n:]
	}
	n := min(uint64(len(p)), r.end()-off)
	inside(off-r.start, p[:n])
	if n < uint64(len(p)) {
		outside(off+n, p[n:])
	}
}

// register is by how many bytes accesses to a BAR are counted: devices' BARs are up to gigabytes, of which few answer by exits.
func (b *bar) register() uint64 {
	const registers = 256
	return max(4, b.size/registers)
}

// RegisterName implements pci.Handler.
func (b *bar) RegisterName(off uint64, _ bool) string {
	switch n := b.register(); {
	case b.table.overlaps(off, n):
		return "MSI-X table"
	case b.pba.overlaps(off, n):
		return "MSI-X pending bits"
	}
	return fmt.Sprintf("BAR %d+%#x", b.index, off)
}

// barSize is what the guest sees of a region's size: a power of two, by the region's own, and a page at least for memory.
func barSize(kind pci.BARKind, size uint64) uint64 {
	if kind != pci.Port {
		return max(size, minBAR)
	}
	return max(size, 4)
}
