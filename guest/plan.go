package guest

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"doorbell/guest/bootparam"
	"doorbell/guest/kernel"
	"doorbell/guest/memory"
)

// Config is what a guest is made of.
type Config struct {
	Memory  *memory.Memory
	Kernel  string // path of a bzImage, a vmlinux or a Multiboot image
	Initrd  string // path; empty for none
	Cmdline string

	ACPI []Blob // tables with their addresses, see ACPIStart
	RSDP uint64 // address of the one among them that is the root; 0 for none

	// Reserved are further ranges of the memory map, such as PCI's
	// memory-mapped configuration space. They must not overlap RAM.
	Reserved []bootparam.E820Entry

	// Seed is given to the kernel's entropy pool; nil for none.
	Seed []byte
}

// Plan says what lies where in guest memory and how the guest is entered.
type Plan struct {
	Entry  Entry
	Kernel kernel.Loaded
	E820   []bootparam.E820Entry
	Ranges []Range // everything that was placed, by address

	memorySize uint64
}

// Range is a named piece of guest memory, from Start up to but not including
// End.
type Range struct {
	Start, End uint64
	Name       string
}

// Build writes a guest into its memory. The same configuration and the same
// files give the same bytes. To reset a guest, build it again in the same
// memory. When Build fails, the contents of guest memory are undefined.
func Build(c Config) (*Plan, error) {
	// Everything that is cheap to refuse is refused before a kernel is
	// unpacked.
	if err := checkACPI(c.ACPI, c.RSDP); err != nil {
		return nil, err
	}
	if room := setupDataEnd - setupDataStart - len(bootparam.RNGSeed(nil)); len(c.Seed) > room {
		return nil, fmt.Errorf("random seed of %d bytes, at most %d fit", len(c.Seed), room)
	}
	e820, err := bootparam.E820Map(c.Memory.Regions(), c.Reserved)
	if err != nil {
		return nil, err
	}
	bare, err := openBare(c.Kernel)
	if err != nil {
		return nil, err
	}
	if bare != nil {
		defer func() { _ = bare.Close() }()
		return buildBare(c, bare, e820)
	}
	image, err := kernel.Open(c.Kernel)
	if err != nil {
		return nil, err
	}
	defer func() { _ = image.Close() }()
	if err := checkCmdline(c.Cmdline, image.SetupHeader()); err != nil {
		return nil, err
	}
	var initrd *initrdFile
	if c.Initrd != "" {
		if initrd, err = openInitrd(c.Initrd); err != nil {
			return nil, err
		}
		defer initrd.close()
	}

	p := &Plan{E820: e820, memorySize: c.Memory.Size()}
	if p.Kernel, err = image.Load(c.Memory); err != nil {
		return nil, err
	}
	k := p.Kernel
	if k.Start < kernelStart || k.End > identityEnd {
		return nil, fmt.Errorf("kernel %s: is linked for %#x-%#x, which is not between 1 MiB and 4 GiB", c.Kernel, k.Start, k.End-1)
	}
	p.Entry = NewEntry(k.Entry)
	p.add(k.Start, k.End, "kernel, "+k.Format)

	params := bootparam.Params{
		Header:     k.SetupHeader,
		CmdlineGPA: cmdlineStart,
		RSDP:       c.RSDP,
		E820:       e820,
	}
	if initrd != nil {
		r, err := initrd.load(c.Memory, k.SetupHeader, k.End)
		if err != nil {
			return nil, err
		}
		p.Ranges = append(p.Ranges, r)
		params.InitrdGPA, params.InitrdSize = r.Start, r.End-r.Start
	}
	if len(c.Seed) > 0 {
		params.SetupData = setupDataStart
	}
	zeroPage, err := params.ZeroPage()
	if err != nil {
		return nil, err
	}
	if err := p.write(c, zeroPage[:]); err != nil {
		return nil, err
	}
	return p, p.check()
}

// write places everything that has a fixed address.
func (p *Plan) write(c Config, zeroPage []byte) error {
	if err := writePageTables(c.Memory); err != nil {
		return fmt.Errorf("page tables: %w", err)
	}
	p.add(pageTablesStart, pageTablesEnd, "page tables")
	p.add(stackStart, stackEnd, "boot stack")

	parts := []struct {
		gpa  uint64
		data []byte
		name string
	}{
		{gdtStart, gdtBytes(), "GDT"},
		{zeroPageStart, zeroPage, "zero page"},
		{cmdlineStart, append([]byte(c.Cmdline), 0), "command line"},
		{resetVector, resetCode, "reset vector"},
	}
	for _, part := range parts {
		if err := p.place(c.Memory, part.gpa, part.data, part.name); err != nil {
			return err
		}
	}
	if len(c.Seed) > 0 {
		if err := p.place(c.Memory, setupDataStart, bootparam.RNGSeed(c.Seed), "setup_data, random seed"); err != nil {
			return err
		}
	}
	for _, b := range c.ACPI {
		if err := p.place(c.Memory, b.GPA, b.Data, b.name()); err != nil {
			return err
		}
	}
	return nil
}

func (p *Plan) place(mem *memory.Memory, gpa uint64, data []byte, name string) error {
	if err := mem.WriteAt(data, gpa); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	p.add(gpa, gpa+uint64(len(data)), name)
	return nil
}

func (p *Plan) add(start, end uint64, name string) {
	p.Ranges = append(p.Ranges, Range{start, end, name})
}

// check sorts the ranges and proves that none overlaps another.
func (p *Plan) check() error {
	slices.SortFunc(p.Ranges, func(a, b Range) int { return cmp.Compare(a.Start, b.Start) })
	for i, r := range p.Ranges[1:] {
		if before := p.Ranges[i]; before.End > r.Start {
			return fmt.Errorf("guest memory: %s at %#x overlaps %s at %#x", before.Name, before.Start, r.Name, r.Start)
		}
	}
	return nil
}

// checkCmdline refuses what the kernel would silently cut.
func checkCmdline(s string, h bootparam.SetupHeader) error {
	if strings.ContainsRune(s, 0) {
		return errors.New("command line contains a zero byte")
	}
	if limit := min(h.CmdlineSize(), cmdlineEnd-cmdlineStart-1); uint64(len(s)) > limit {
		return fmt.Errorf("command line of %d bytes is too long, the kernel reads %d", len(s), limit)
	}
	return nil
}
