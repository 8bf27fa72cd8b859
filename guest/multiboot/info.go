package multiboot

import (
	"encoding/binary"

	"doorbell/guest/bootparam"
)

// EntryMagic is in EAX when the kernel is entered (section 3.2).
const EntryMagic = 0x2badb002

// Info is what the kernel is told (section 3.3). All addresses are below 4 GiB.
type Info struct {
	Cmdline    uint32 // of a string
	LoaderName uint32 // of a string
	Module     *Module
	ModuleList uint32 // where the list of modules goes, if there is one
	MemoryMap  uint32 // where the map goes
	E820       []bootparam.E820Entry
}

// Module is a file that was loaded beside the kernel.
type Module struct{ Start, End, String uint32 }

// InfoSize is the size of the structure, up to the boot loader's name.
const InfoSize = 68

// Flags of the structure.
const (
	infoMemory  = 1 << 0
	infoCmdline = 1 << 2
	infoModules = 1 << 3
	infoMap     = 1 << 6
	infoLoader  = 1 << 9
)

// Bytes are the structure, the list of modules and the memory map.
func (i Info) Bytes() (info, modules, memoryMap []byte) {
	le := binary.LittleEndian
	b := make([]byte, InfoSize)
	put := func(off int, v uint32) { le.PutUint32(b[off:], v) }
	flags := uint32(infoMemory | infoCmdline | infoMap | infoLoader)
	put(4, lower(i.E820))
	put(8, upper(i.E820))
	put(16, i.Cmdline)
	if m := i.Module; m != nil {
		flags |= infoModules
		put(20, 1)
		put(24, i.ModuleList)
		for _, v := range []uint32{m.Start, m.End, m.String, 0} {
			modules = le.AppendUint32(modules, v)
		}
	}
	for _, e := range i.E820 {
		memoryMap = le.AppendUint32(memoryMap, 20) // the size of what follows
		memoryMap = le.AppendUint64(memoryMap, e.Addr)
		memoryMap = le.AppendUint64(memoryMap, e.Size)
		memoryMap = le.AppendUint32(memoryMap, uint32(e.Type))
	}
	put(44, uint32(len(memoryMap)))
	put(48, i.MemoryMap)
	put(64, i.LoaderName)
	put(0, flags)
	return b, modules, memoryMap
}

const mib = 1 << 20

// lower is the RAM from address 0, upper that from 1 MiB up to the first hole, in KiB.
func lower(m []bootparam.E820Entry) uint32 { return from(m, 0) }
func upper(m []bootparam.E820Entry) uint32 { return from(m, mib) }

func from(m []bootparam.E820Entry, addr uint64) uint32 {
	for _, e := range m {
		if e.Type == bootparam.E820RAM && e.Addr == addr {
			return uint32(min(e.Size>>10, 1<<32-1))
		}
	}
	return 0
}
