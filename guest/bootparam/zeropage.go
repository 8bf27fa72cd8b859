package bootparam

import (
	"encoding/binary"
	"fmt"
)

// Params is what a kernel is told at its start. Addresses are guest physical;
// zero stands for a thing that is not there.
type Params struct {
	Header     SetupHeader // of the kernel's bzImage; nil for an ELF vmlinux
	CmdlineGPA uint64      // zero-terminated command line
	InitrdGPA  uint64
	InitrdSize uint64 // in bytes
	RSDP       uint64 // the ACPI root pointer
	SetupData  uint64 // first struct setup_data of the list
	E820       []E820Entry
}

// ZeroPage builds struct boot_params.
func (p *Params) ZeroPage() (*[PageSize]byte, error) {
	if len(p.E820) > maxE820Entries {
		return nil, fmt.Errorf("memory map: %d entries, the zero page holds %d", len(p.E820), maxE820Entries)
	}
	page := new([PageSize]byte)
	le := binary.LittleEndian

	h := p.Header
	if h == nil {
		h = synthesised()
	}
	copy(page[HeaderOffset:headerLimit], h)

	page[offTypeOfLoader] = typeOfLoaderUndefined
	// There is no heap for real-mode code, which never runs.
	page[offLoadflags] = page[offLoadflags]&^canUseHeap | LoadedHigh
	page[offExtLoaderVer], page[offExtLoaderType] = 0, 0
	le.PutUint16(page[offVidMode:], vidModeNormal)
	le.PutUint16(page[offHeapEndPtr:], 0)

	put64 := func(low, high int, v uint64) {
		le.PutUint32(page[low:], uint32(v))
		le.PutUint32(page[high:], uint32(v>>32))
	}
	put64(offCmdLinePtr, offExtCmdLinePtr, p.CmdlineGPA)
	put64(offRamdiskImage, offExtRamdiskImage, p.InitrdGPA)
	put64(offRamdiskSize, offExtRamdiskSize, p.InitrdSize)
	le.PutUint64(page[offSetupData:], p.SetupData)
	le.PutUint64(page[offACPIRSDPAddr:], p.RSDP)

	page[offE820Entries] = byte(len(p.E820))
	for i, e := range p.E820 {
		e.put(page[offE820Table+i*e820EntrySize:])
	}
	return page, nil
}
