package multiboot

import (
	"bytes"
	"cmp"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"syscall"

	"doorbell/guest/memory"
)

// Image is a Multiboot image. It stays open, so that it can be loaded again.
type Image struct {
	name   string // as the user wrote it
	file   io.ReaderAt
	close  func() error
	header header

	segments []segment // by address, not overlapping
	entry    uint64
	format   string
}

// segment is a piece of the file and its place in guest memory, whose rest is zero.
type segment struct{ off, filesz, paddr, memsz uint64 }

// Loaded tells where an image lies in guest memory.
type Loaded struct {
	Entry, Start, End uint64 // End is page-aligned
	Format            string // for people
}

// ErrNone is what is wrong with a file that has no Multiboot header.
var ErrNone = errors.New("no Multiboot header")

// Open recognises an image in a file; the error is ErrNone if the file has no Multiboot header. The caller closes the Image.
func Open(path string) (*Image, error) {
	// Without O_NONBLOCK, opening a named pipe would wait for its writer.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fail(path, err)
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = errors.New("is not a regular file")
	}
	var im *Image
	if err == nil {
		im, err = New(path, f, st.Size())
	}
	if err != nil {
		_ = f.Close()
		if err == ErrNone {
			return nil, err
		}
		return nil, fail(path, err)
	}
	im.close = f.Close
	return im, nil
}

// New recognises an image in the first size bytes of file; name stands for it in messages.
func New(name string, file io.ReaderAt, size int64) (*Image, error) {
	head := make([]byte, min(max(size, 0), searchSize))
	if n, err := file.ReadAt(head, 0); n < len(head) {
		return nil, fmt.Errorf("truncated at offset %#x: %w", n, err)
	}
	h, ok := find(head)
	if !ok {
		return nil, ErrNone
	}
	im := &Image{name: name, file: file, header: h, close: func() error { return nil }}
	if err := h.check(); err != nil {
		return nil, err
	}
	if h.flags&flagAddresses != 0 {
		if err := im.byAddresses(uint64(size)); err != nil {
			return nil, err
		}
		return im, nil
	}
	if err := im.byELF(head, uint64(size)); err != nil {
		return nil, err
	}
	return im, nil
}

// Close closes the file.
func (im *Image) Close() error { return im.close() }

// byAddresses takes the addresses of the header (section 3.1.3).
func (im *Image) byAddresses(size uint64) error {
	h := im.header
	load, end, bss := uint64(h.load), uint64(h.loadEnd), uint64(h.bssEnd)
	if h.load > h.header || uint64(h.header-h.load) > h.offset {
		return fmt.Errorf("the Multiboot header at file offset %#x says that it is at %#x, and the text at %#x", h.offset, h.header, h.load)
	}
	off := h.offset - uint64(h.header-h.load)
	if end == 0 {
		end = load + size - off
	}
	if end < load || end-load > size-off {
		return fmt.Errorf("the Multiboot header: load_end_addr %#x is beyond the file, which ends at %#x", end, load+size-off)
	}
	if bss == 0 {
		bss = end
	}
	if bss < end {
		return fmt.Errorf("the Multiboot header: bss_end_addr %#x is below load_end_addr %#x", bss, end)
	}
	im.segments = []segment{{off, end - load, load, bss - load}}
	im.entry, im.format = uint64(h.entry), "Multiboot image"
	return im.check()
}

// Sizes and offsets of ELF's structures that differ with the class (System V ABI, chapter 4 and 5).
type elfLayout struct {
	ehdr, phdr                  int
	entry, phoff, phnum, phsize int // in the ELF header
	off, paddr, filesz, memsz   int // in a program header
	wide                        bool
}

var (
	elf32 = elfLayout{52, 32, 24, 28, 44, 42, 4, 12, 16, 20, false}
	elf64 = elfLayout{64, 56, 24, 32, 56, 54, 8, 24, 32, 40, true}
)

func (l elfLayout) word(b []byte, off int) uint64 {
	if l.wide {
		return binary.LittleEndian.Uint64(b[off:])
	}
	return uint64(binary.LittleEndian.Uint32(b[off:]))
}

// byELF takes the program headers, with their physical addresses.
func (im *Image) byELF(head []byte, size uint64) error {
	if len(head) < elf.EI_NIDENT || !bytes.HasPrefix(head, []byte(elf.ELFMAG)) {
		return errors.New("the Multiboot header without load addresses in a file that is no ELF")
	}
	l := elf32
	im.format = "Multiboot image (ELF32)"
	switch class := elf.Class(head[elf.EI_CLASS]); class {
	case elf.ELFCLASS32:
	case elf.ELFCLASS64:
		l, im.format = elf64, "Multiboot image (ELF64)"
	default:
		return fmt.Errorf("ELF of unknown class %d", class)
	}
	if len(head) < l.ehdr {
		return errors.New("ELF header is truncated")
	}
	le := binary.LittleEndian
	machine := elf.Machine(le.Uint16(head[18:]))
	if elf.Data(head[elf.EI_DATA]) != elf.ELFDATA2LSB || machine != elf.EM_386 && machine != elf.EM_X86_64 {
		return fmt.Errorf("ELF for %v, not x86", machine)
	}
	im.entry = l.word(head, l.entry)
	phoff, n := l.word(head, l.phoff), uint64(le.Uint16(head[l.phnum:]))
	if s := int(le.Uint16(head[l.phsize:])); n > 0 && s != l.phdr {
		return fmt.Errorf("ELF program headers of %d bytes, want %d", s, l.phdr)
	}
	if phoff > size || n*uint64(l.phdr) > size-phoff {
		return fmt.Errorf("ELF has %d program headers at offset %#x, beyond its end", n, phoff)
	}
	table := make([]byte, n*uint64(l.phdr)) // at most 64 Ki headers
	if _, err := im.file.ReadAt(table, int64(phoff)); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("ELF program headers: %w", err)
	}
	for ph := range slices.Chunk(table, l.phdr) {
		s := segment{l.word(ph, l.off), l.word(ph, l.filesz), l.word(ph, l.paddr), l.word(ph, l.memsz)}
		if elf.ProgType(le.Uint32(ph)) != elf.PT_LOAD || s.memsz == 0 && s.filesz == 0 {
			continue
		}
		switch {
		case s.filesz > s.memsz:
			return fmt.Errorf("ELF segment at %#x has %#x bytes in the file and %#x in memory", s.paddr, s.filesz, s.memsz)
		case s.paddr+s.memsz < s.paddr:
			return fmt.Errorf("ELF segment at %#x of %#x bytes wraps around", s.paddr, s.memsz)
		case s.off > size || s.filesz > size-s.off:
			return fmt.Errorf("ELF segment at %#x: its bytes %#x+%#x are beyond the file's end", s.paddr, s.off, s.filesz)
		}
		im.segments = append(im.segments, s)
	}
	return im.check()
}

// check orders the segments and looks for overlaps and for the entry.
func (im *Image) check() error {
	if len(im.segments) == 0 {
		return errors.New("a Multiboot image without anything to load")
	}
	slices.SortStableFunc(im.segments, func(a, b segment) int { return cmp.Compare(a.paddr, b.paddr) })
	entered := false
	for i, s := range im.segments {
		if i > 0 && im.segments[i-1].paddr+im.segments[i-1].memsz > s.paddr {
			return fmt.Errorf("segments at %#x and %#x overlap", im.segments[i-1].paddr, s.paddr)
		}
		entered = entered || im.entry >= s.paddr && im.entry-s.paddr < s.memsz
	}
	if !entered {
		return fmt.Errorf("entry point %#x is not within what is loaded", im.entry)
	}
	return nil
}

// Load places the image in guest memory, all of it within [low, high). When it fails, the contents of guest memory are undefined.
func (im *Image) Load(mem *memory.Memory, low, high uint64) (Loaded, error) {
	last := im.segments[len(im.segments)-1]
	l := Loaded{Entry: im.entry, Start: im.segments[0].paddr, End: (last.paddr + last.memsz + 4095) &^ 4095, Format: im.format}
	if l.Start < low || last.paddr+last.memsz > high {
		return l, fail(im.name, fmt.Errorf("is linked for %#x-%#x, which is not between %#x and %#x", l.Start, last.paddr+last.memsz-1, low, high))
	}
	for _, s := range im.segments {
		if _, err := mem.Bytes(s.paddr, s.memsz); err != nil {
			return l, fail(im.name, fmt.Errorf("%s at %#x does not fit in %s of guest memory", memory.FormatSize(s.memsz), s.paddr, memory.FormatSize(mem.Size())))
		}
		dst, err := mem.Bytes(s.paddr, s.filesz)
		if err != nil {
			return l, fail(im.name, err)
		}
		if n, err := im.file.ReadAt(dst, int64(s.off)); n < len(dst) {
			return l, fail(im.name, fmt.Errorf("truncated at offset %#x: %w", s.off+uint64(n), err))
		}
		if err := mem.Zero(s.paddr+s.filesz, s.memsz-s.filesz); err != nil {
			return l, fail(im.name, err)
		}
	}
	return l, nil
}

// fail names the file in an error instead of the system call.
func fail(name string, err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return fmt.Errorf("kernel %s: %w", name, err)
}
