package kernel

import (
	"cmp"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// Sizes of the ELF-64 structures.
const (
	ehdrSize = 64
	phdrSize = 56
)

// elfHeadLimit bounds where program headers may end. A stream is looked at that
// far ahead of its segments; linkers put the headers right behind the ELF
// header.
const elfHeadLimit = 64 << 10

// segment is one PT_LOAD program header.
type segment struct {
	off, filesz  uint64 // in the file
	paddr, memsz uint64 // in guest memory
}

// vmlinux is what an ELF file's headers say.
type vmlinux struct {
	entry    uint64
	segments []segment // by address, without empty ones, not overlapping
}

// parseELF reads the headers. It does not trust them: all sums are checked.
func parseELF(src source) (*vmlinux, error) {
	var eh [ehdrSize]byte
	if err := src.peek(eh[:], 0); err != nil {
		return nil, fmt.Errorf("ELF header: %w", err)
	}
	if err := checkEhdr(eh[:]); err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	phoff, n := le.Uint64(eh[32:]), uint64(le.Uint16(eh[56:]))
	if size := le.Uint16(eh[54:]); n > 0 && size != phdrSize {
		return nil, fmt.Errorf("ELF program headers of %d bytes, want %d", size, phdrSize)
	}
	if phoff > elfHeadLimit || phoff+n*phdrSize > elfHeadLimit {
		return nil, fmt.Errorf("ELF has %d program headers at offset %#x, beyond its first 64 KiB", n, phoff)
	}
	table := make([]byte, n*phdrSize)
	if err := src.peek(table, phoff); err != nil {
		return nil, fmt.Errorf("ELF program headers: %w", err)
	}
	v := &vmlinux{entry: le.Uint64(eh[24:])}
	for ph := range slices.Chunk(table, phdrSize) {
		s := segment{
			off: le.Uint64(ph[8:]), filesz: le.Uint64(ph[32:]),
			paddr: le.Uint64(ph[24:]), memsz: le.Uint64(ph[40:]),
		}
		if elf.ProgType(le.Uint32(ph)) != elf.PT_LOAD || s.memsz == 0 && s.filesz == 0 {
			continue
		}
		switch {
		case s.filesz > s.memsz:
			return nil, fmt.Errorf("ELF segment at %#x has %#x bytes in the file and %#x in memory", s.paddr, s.filesz, s.memsz)
		case s.paddr+s.memsz < s.paddr || s.off+s.filesz < s.off:
			return nil, fmt.Errorf("ELF segment at %#x of %#x bytes wraps around", s.paddr, s.memsz)
		}
		v.segments = append(v.segments, s)
	}
	return v, v.check()
}

// checkEhdr accepts executables for x86-64 and names whatever else it finds.
func checkEhdr(eh []byte) error {
	class, data := elf.Class(eh[elf.EI_CLASS]), elf.Data(eh[elf.EI_DATA])
	var order binary.ByteOrder = binary.LittleEndian
	if data == elf.ELFDATA2MSB {
		order = binary.BigEndian
	}
	typ, machine := elf.Type(order.Uint16(eh[16:])), elf.Machine(order.Uint16(eh[18:]))
	switch {
	case class != elf.ELFCLASS32 && class != elf.ELFCLASS64:
		return fmt.Errorf("ELF of unknown class %d", class)
	case machine != elf.EM_X86_64:
		return fmt.Errorf("ELF for %s, not x86-64", machineName(machine))
	case class == elf.ELFCLASS32:
		return errors.New("32-bit ELF for x86-64 (x32), not a 64-bit kernel")
	case data != elf.ELFDATA2LSB:
		return errors.New("big-endian ELF, not x86-64")
	case typ != elf.ET_EXEC:
		return fmt.Errorf("ELF %s, not an executable like vmlinux", typeName(typ))
	}
	return nil
}

// check orders the segments by address and looks for overlaps.
func (v *vmlinux) check() error {
	if len(v.segments) == 0 {
		return errors.New("ELF without anything to load")
	}
	slices.SortStableFunc(v.segments, func(a, b segment) int { return cmp.Compare(a.paddr, b.paddr) })
	entered := false
	for i, s := range v.segments {
		if i > 0 && v.segments[i-1].paddr+v.segments[i-1].memsz > s.paddr {
			return fmt.Errorf("ELF segments at %#x and %#x overlap", v.segments[i-1].paddr, s.paddr)
		}
		entered = entered || v.entry >= s.paddr && v.entry < s.paddr+s.memsz
	}
	if !entered {
		return fmt.Errorf("ELF entry point %#x is not within a segment's physical addresses", v.entry)
	}
	return nil
}
