package guest

import (
	"encoding/binary"

	"doorbell/guest/memory"
)

// Entry is the state in which the first vCPU enters the kernel: for Linux boot.rst,
// "64-bit Boot Protocol", for a Multiboot image that specification's section 3.2. Registers that are not named here are zero, and
// interrupts are off.
type Entry struct {
	RIP    uint64
	RAX    uint64 // Multiboot's magic
	RBX    uint64 // Multiboot's information
	RSI    uint64 // the zero page
	RSP    uint64
	RFLAGS uint64

	CR0  uint64
	CR3  uint64
	CR4  uint64
	EFER uint64

	GDTBase  uint64
	GDTLimit uint16 // offset of the last byte

	CS Segment // __BOOT_CS
	DS Segment // __BOOT_DS, for DS, ES, SS, FS and GS alike
}

// Segment is a segment register with its hidden part, as the processor would
// have loaded it from the GDT. The fields are those of a segment descriptor
// (Intel SDM volume 3, "Segment Descriptors"), Limit in bytes.
type Segment struct {
	Selector uint16
	Base     uint64
	Limit    uint32
	Type     uint8
	S        uint8 // 1: code or data
	DPL      uint8
	P        uint8
	AVL      uint8
	L        uint8 // 1: 64-bit code
	DB       uint8
	G        uint8
}

// Selectors and descriptors that the boot protocol demands (asm/segment.h).
// "Accessed" is set, because the processor would otherwise write to the GDT.
const (
	bootCS = 0x10
	bootDS = 0x18

	flatCode64 = 0x00af_9b00_0000_ffff // execute/read, 4 GiB, 64-bit
	flatData   = 0x00cf_9300_0000_ffff // read/write, 4 GiB
)

var gdt = [...]uint64{bootCS / 8: flatCode64, bootDS / 8: flatData}

// Bits of the control registers, EFER and RFLAGS.
const (
	cr0PE      = 1 << 0
	cr0ET      = 1 << 4
	cr0NE      = 1 << 5
	cr0PG      = 1 << 31
	cr4PAE     = 1 << 5
	eferLME    = 1 << 8
	eferLMA    = 1 << 10
	rflagsOnes = 1 << 1 // always set
)

// Bits of a page-table entry.
const (
	pteP  = 1 << 0
	pteRW = 1 << 1
	ptePS = 1 << 7 // the entry of a page directory maps 2 MiB
)

// NewEntry is the state that enters a kernel at rip, with what Build places at
// fixed addresses.
func NewEntry(rip uint64) Entry {
	return Entry{
		RIP:    rip,
		RSI:    zeroPageStart,
		RSP:    stackEnd,
		RFLAGS: rflagsOnes,
		CR0:    cr0PE | cr0ET | cr0NE | cr0PG,
		CR3:    pageTablesStart,
		CR4:    cr4PAE,
		EFER:   eferLME | eferLMA,

		GDTBase:  gdtStart,
		GDTLimit: uint16(8*len(gdt) - 1),
		CS:       segment(gdt[:], bootCS),
		DS:       segment(gdt[:], bootDS),
	}
}

// segment decodes the descriptor that a selector names.
func segment(gdt []uint64, selector uint16) Segment {
	d := gdt[selector/8]
	bits := func(shift, width uint) uint64 { return d >> shift & (1<<width - 1) }
	s := Segment{
		Selector: selector,
		Base:     bits(16, 24) | bits(56, 8)<<24,
		Limit:    uint32(bits(0, 16) | bits(48, 4)<<16),
		Type:     uint8(bits(40, 4)),
		S:        uint8(bits(44, 1)),
		DPL:      uint8(bits(45, 2)),
		P:        uint8(bits(47, 1)),
		AVL:      uint8(bits(52, 1)),
		L:        uint8(bits(53, 1)),
		DB:       uint8(bits(54, 1)),
		G:        uint8(bits(55, 1)),
	}
	if s.G == 1 {
		s.Limit = s.Limit<<12 | 0xfff
	}
	return s
}

// gdtBytes is the descriptor table as it lies in memory.
func gdtBytes() []byte { return descriptors(gdt[:]) }

func descriptors(gdt []uint64) []byte {
	b := make([]byte, 0, 8*len(gdt))
	for _, d := range gdt {
		b = binary.LittleEndian.AppendUint64(b, d)
	}
	return b
}

// writePageTables maps [0, identityEnd) to itself in pages of 2 MiB, which every
// x86-64 processor has; 1 GiB pages are optional.
func writePageTables(mem *memory.Memory) error {
	const page, directories = 4096, identityEnd >> 30
	b, err := mem.Bytes(pageTablesStart, pageTablesEnd-pageTablesStart)
	if err != nil {
		return err
	}
	clear(b)
	const pdpt, pd = pageTablesStart + page, pageTablesStart + 2*page
	put := func(gpa int, entry uint64) { binary.LittleEndian.PutUint64(b[gpa-pageTablesStart:], entry) }
	put(pageTablesStart, pdpt|pteP|pteRW)
	for i := range directories {
		put(pdpt+8*i, uint64(pd+page*i)|pteP|pteRW)
	}
	for i := range directories * 512 {
		put(pd+8*i, uint64(i)<<21|pteP|pteRW|ptePS)
	}
	return nil
}
