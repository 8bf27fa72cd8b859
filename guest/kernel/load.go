package kernel

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"

	"doorbell/guest/memory"
)

// tailLimit bounds how much is unpacked behind the last segment: relocations
// and section headers in a bzImage, debugging information in a vmlinux.
const tailLimit = 64 << 20

// wholeUnknown is unpack's total when it did not read to the end.
const wholeUnknown = ^uint64(0)

// unpack loads the vmlinux that the n bytes at off hold in compressed form. The
// total is the size of everything unpacked.
func unpack(mem *memory.Memory, c codec, file io.ReaderAt, off, n uint64) (l Loaded, total uint64, err error) {
	dec, err := c.decoder(io.NewSectionReader(&window{file, off}, 0, int64(n)))
	if err != nil {
		return Loaded{}, 0, c.wrap(err)
	}
	l, total, err = loadStream(mem, newStreamSource(dec))
	dec.close()
	if err != nil {
		return l, 0, c.wrap(err)
	}
	if dec.onHeap && total > 8<<20 {
		// The decoders of xz and zstd keep a dictionary of tens of MiB. Give
		// it back now: the machine that is about to run allocates nothing, so
		// the collector might not come by for a long time.
		dec = decoder{}
		debug.FreeOSMemory()
	}
	return l, total, nil
}

// loadStream loads a vmlinux and reads on to the end of its stream, so that a
// checksum there is verified.
func loadStream(mem *memory.Memory, src *streamSource) (Loaded, uint64, error) {
	l, err := loadELF(mem, src)
	if errors.Is(err, errNotELF) {
		head, _ := src.r.Peek(headSize)
		return l, 0, errors.New("no vmlinux inside: " + describe(head))
	}
	if err != nil {
		return l, 0, err
	}
	switch whole, err := src.drain(tailLimit); {
	case err != nil:
		return l, 0, err
	case !whole:
		return l, wholeUnknown, nil
	}
	return l, src.pos, nil
}

// loadELF loads the segments in the order in which the file has them. When it
// fails, the returned Start and End tell what may have been written.
func loadELF(mem *memory.Memory, src source) (Loaded, error) {
	var magic [4]byte
	if err := src.peek(magic[:], 0); err != nil {
		return Loaded{}, err
	}
	if detect(magic[:]) != codecELF {
		return Loaded{}, errNotELF
	}
	v, err := parseELF(src)
	if err != nil {
		return Loaded{}, err
	}
	for _, s := range v.segments {
		if _, err := mem.Bytes(s.paddr, s.memsz); err != nil {
			return Loaded{}, fmt.Errorf("segment of %w", noRoom(s.paddr, s.memsz, mem))
		}
		// A stream has to be unpacked up to a segment, so its offset is
		// bounded as well: a few bytes may stand for terabytes.
		if s.filesz > 0 && s.off+s.filesz > mem.Size()+tailLimit {
			return Loaded{}, fmt.Errorf("segment at file offset %#x is farther than %s of guest memory reach",
				s.off, memory.FormatSize(mem.Size()))
		}
	}
	last := v.segments[len(v.segments)-1]
	l := Loaded{Entry: v.entry, Start: v.segments[0].paddr, End: pageUp(last.paddr + last.memsz)}

	slices.SortStableFunc(v.segments, func(a, b segment) int { return cmp.Compare(a.off, b.off) })
	for _, s := range v.segments {
		if err := loadSegment(mem, src, s); err != nil {
			return l, err
		}
	}
	return l, nil
}

func loadSegment(mem *memory.Memory, src source, s segment) error {
	dst, err := mem.Bytes(s.paddr, s.filesz)
	if err != nil {
		return err
	}
	if len(dst) > 0 {
		if err := src.read(dst, s.off); err != nil {
			return err
		}
	}
	return mem.Zero(s.paddr+s.filesz, s.memsz-s.filesz)
}
