package guest

import (
	"errors"
	"fmt"

	"doorbell/guest/bootparam"
	"doorbell/guest/kernel"
	"doorbell/guest/multiboot"
)

// Where a Multiboot image finds what it is told. The low megabyte is otherwise as for Linux (layout.go), without page tables.
//
//	0x0000_0500  GDT
//	0x0000_7000  Multiboot information, the loader's name, the module's string
//	0x0000_8000  list of modules
//	0x0000_9000  memory map
//	0x0002_0000  command line
//	0x0010_0000  the image, and after it the module
const (
	bareInfo       = zeroPageStart
	bareLoaderName = zeroPageStart + 0x100
	bareModuleName = zeroPageStart + 0x200
	bareModules    = stackStart
	bareMap        = pageTablesStart

	loaderName = "doorbell"
)

// Recognise says what is wrong with a kernel file, as far as that can be seen without loading it, and whether it is a Multiboot image.
func Recognise(path string) (bare bool, err error) {
	im, err := openBare(path)
	if im != nil {
		return true, im.Close()
	}
	if err != nil {
		return false, err
	}
	k, err := kernel.Open(path)
	if err != nil {
		return false, err
	}
	return false, k.Close()
}

// openBare opens a Multiboot image; nil if the file is none. Linux's own formats have no Multiboot header.
func openBare(path string) (*multiboot.Image, error) {
	im, err := multiboot.Open(path)
	if errors.Is(err, multiboot.ErrNone) {
		return nil, nil
	}
	return im, err
}

// buildBare is Build for a Multiboot image.
func buildBare(c Config, im *multiboot.Image, e820 []bootparam.E820Entry) (*Plan, error) {
	p := &Plan{E820: e820, memorySize: c.Memory.Size()}
	l, err := im.Load(c.Memory, kernelStart, identityEnd)
	if err != nil {
		return nil, err
	}
	p.Kernel = kernel.Loaded{Entry: l.Entry, Start: l.Start, End: l.End, Format: l.Format}
	p.add(l.Start, l.End, "kernel, "+l.Format)
	p.Entry = bareEntry(l.Entry)

	info := multiboot.Info{Cmdline: cmdlineStart, LoaderName: bareLoaderName, ModuleList: bareModules, MemoryMap: bareMap, E820: e820}
	if c.Initrd != "" {
		r, err := c.loadModule(l.End)
		if err != nil {
			return nil, err
		}
		p.Ranges = append(p.Ranges, r)
		info.Module = &multiboot.Module{Start: uint32(r.Start), End: uint32(r.End), String: bareModuleName}
	}
	infoBytes, modules, memoryMap := info.Bytes()
	cmdline := c.Kernel // as other loaders do: the first word is the program's name
	if c.Cmdline != "" {
		cmdline += " " + c.Cmdline
	}
	if len(cmdline) >= cmdlineEnd-cmdlineStart {
		return nil, fmt.Errorf("command line of %d bytes is too long, %d fit", len(cmdline), cmdlineEnd-cmdlineStart-1)
	}
	if len(memoryMap) > pageTablesEnd-pageTablesStart {
		return nil, fmt.Errorf("memory map of %d ranges is too long", len(e820))
	}
	text := func(s string) []byte { return append([]byte(s), 0) }
	for _, part := range []struct {
		gpa  uint64
		data []byte
		name string
	}{
		{gdtStart, bareGDTBytes(), "GDT"},
		{bareInfo, infoBytes, "Multiboot information"},
		{bareLoaderName, text(loaderName), "boot loader name"},
		{bareModules, modules, "list of modules"},
		{bareMap, memoryMap, "memory map"},
		{cmdlineStart, text(cmdline), "command line"},
		{resetVector, resetCode, "reset vector"},
	} {
		if len(part.data) == 0 {
			continue
		}
		if err := p.place(c.Memory, part.gpa, part.data, part.name); err != nil {
			return nil, err
		}
	}
	if info.Module != nil {
		name := c.Initrd
		if room := int(bareModules - bareModuleName - 1); len(name) > room {
			name = name[:room]
		}
		if err := p.place(c.Memory, bareModuleName, text(name), "module's string"); err != nil {
			return nil, err
		}
	}
	for _, b := range c.ACPI {
		if err := p.place(c.Memory, b.GPA, b.Data, b.name()); err != nil {
			return nil, err
		}
	}
	return p, p.check()
}

// loadModule reads the initrd into the pages above floor.
func (c Config) loadModule(floor uint64) (Range, error) {
	f, err := openInitrd(c.Initrd)
	if err != nil {
		return Range{}, err
	}
	defer f.close()
	if floor+f.size > identityEnd {
		return Range{}, initrdError(c.Initrd, fmt.Errorf("%d bytes at %#x do not end below 4 GiB", f.size, floor))
	}
	return f.loadAt(c.Memory, floor)
}

// bareGDT has the segments that the specification asks for; a kernel loads its own before it loads a segment register.
var bareGDT = [...]uint64{bootCS / 8: 0x00cf_9b00_0000_ffff, bootDS / 8: flatData}

func bareGDTBytes() []byte { return descriptors(bareGDT[:]) }

// bareEntry is the state in which a Multiboot kernel is entered (section 3.2): 32-bit protected mode, flat segments, paging and interrupts off.
func bareEntry(rip uint64) Entry {
	return Entry{
		RIP: rip, RAX: multiboot.EntryMagic, RBX: bareInfo, RFLAGS: rflagsOnes, CR0: cr0PE | cr0ET,
		GDTBase: gdtStart, GDTLimit: uint16(8*len(bareGDT) - 1),
		CS: segment(bareGDT[:], bootCS), DS: segment(bareGDT[:], bootDS),
	}
}
