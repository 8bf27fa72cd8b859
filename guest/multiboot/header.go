package multiboot

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The header (section 3.1). It lies within the first searchSize bytes of the file, at a multiple of four.
const (
	searchSize  = 8192
	headerAlign = 4
	headerMagic = 0x1badb002
	headerSize  = 12 // magic, flags, checksum
	kludgeSize  = 32 // with the addresses
)

// Flags of the header (section 3.1.2). A loader that does not know one of the lower sixteen must not load the image.
const (
	flagPageAlign = 1 << 0 // modules begin at pages
	flagMemory    = 1 << 1 // it wants mem_* and, if there is one, the memory map
	flagVideo     = 1 << 2 // it wants a video mode
	flagAddresses = 1 << 16
	flagsRequired = 0xffff
)

// header is the image's.
type header struct {
	offset uint64 // in the file
	flags  uint32

	// With flagAddresses (section 3.1.3): physical addresses. loadEnd 0 is the end of the file, bssEnd 0 that there is none.
	header, load, loadEnd, bssEnd, entry uint32
}

// find looks for the header in the beginning of a file.
func find(head []byte) (h header, ok bool) {
	head = head[:min(len(head), searchSize)]
	le := binary.LittleEndian
	for off := 0; off+headerSize <= len(head); off += headerAlign {
		magic, flags, checksum := le.Uint32(head[off:]), le.Uint32(head[off+4:]), le.Uint32(head[off+8:])
		if magic != headerMagic || magic+flags+checksum != 0 {
			continue
		}
		h = header{offset: uint64(off), flags: flags}
		if flags&flagAddresses == 0 {
			return h, true
		}
		if off+kludgeSize > len(head) {
			return header{}, false // it is not all within the first bytes
		}
		b := head[off:]
		h.header, h.load, h.loadEnd, h.bssEnd, h.entry = le.Uint32(b[12:]), le.Uint32(b[16:]), le.Uint32(b[20:]), le.Uint32(b[24:]), le.Uint32(b[28:])
		return h, true
	}
	return header{}, false
}

// check refuses what cannot be honoured.
func (h header) check() error {
	switch unknown := h.flags & flagsRequired &^ (flagPageAlign | flagMemory); {
	case unknown&flagVideo != 0:
		return errors.New("the Multiboot header asks for a video mode; the machine has only a serial port")
	case unknown != 0:
		return fmt.Errorf("the Multiboot header requires what is not known here: flags %#x", unknown)
	}
	return nil
}
