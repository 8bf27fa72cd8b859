package bootparam

import (
	"encoding/binary"
	"fmt"
)

// SetupHeader is a bzImage's setup header: the image's bytes from HeaderOffset
// to the end that the header itself declares. A field that the header does not
// reach reads as zero; the methods that need more say what they return then.
type SetupHeader []byte

// FindSetupHeader returns the setup header of an image that begins with head,
// cut where head ends or struct boot_params has no more room for it. It reports
// whether the image has one at all.
func FindSetupHeader(head []byte) (SetupHeader, bool) {
	if len(head) < offVersion+2 ||
		binary.LittleEndian.Uint16(head[offBootFlag:]) != bootFlag ||
		string(head[offHeader:offVersion]) != signature {
		return nil, false
	}
	h := SetupHeader(head[HeaderOffset:])
	end := min(h.DeclaredEnd(), headerLimit, len(head))
	end = max(end, offVersion+2)
	return SetupHeader(head[HeaderOffset:end:end]), true
}

// DeclaredEnd is the image offset at which the header says it ends: the target
// of its initial jump.
func (h SetupHeader) DeclaredEnd() int { return int(h.field(offJump+1, 1)) + offHeader }

// field reads the width bytes at a boot_params offset, zero-extended.
func (h SetupHeader) field(off, width int) uint64 {
	off -= HeaderOffset
	if off+width > len(h) {
		return 0
	}
	var b [8]byte
	copy(b[:], h[off:off+width])
	return binary.LittleEndian.Uint64(b[:])
}

// Version is the protocol version, 0x020c for 2.12.
func (h SetupHeader) Version() uint16 { return uint16(h.field(offVersion, 2)) }

// VersionString is the protocol version as people write it.
func (h SetupHeader) VersionString() string {
	return fmt.Sprintf("%d.%02d", h.Version()>>8, h.Version()&0xff)
}

// Loadflags returns the loadflags field.
func (h SetupHeader) Loadflags() uint8 { return uint8(h.field(offLoadflags, 1)) }

// Xloadflags returns the xloadflags field, zero before protocol 2.12.
func (h SetupHeader) Xloadflags() uint16 {
	if h.Version() < 0x20c {
		return 0
	}
	return uint16(h.field(offXloadflags, 2))
}

// CodeOffset is the image offset of the protected-mode code, behind the boot
// sector and the setup sectors; zero setup sectors mean four.
func (h SetupHeader) CodeOffset() uint64 {
	n := h.field(offSetupSects, 1)
	if n == 0 {
		n = 4
	}
	return (n + 1) * 512
}

// CodeSize is the size of the protected-mode code in bytes, a multiple of 16.
func (h SetupHeader) CodeSize() uint64 { return h.field(offSyssize, 4) * 16 }

// Payload is the range of the compressed kernel, relative to CodeOffset. It is
// empty before protocol 2.08.
func (h SetupHeader) Payload() (off, size uint64) {
	if h.Version() < 0x208 {
		return 0, 0
	}
	return h.field(offPayloadOffset, 4), h.field(offPayloadLength, 4)
}

// PrefAddress is where the kernel prefers to be loaded, and InitSize how much
// contiguous memory it needs from there until it has read its memory map. Both
// are zero before protocol 2.10.
func (h SetupHeader) PrefAddress() uint64 {
	if h.Version() < 0x20a {
		return 0
	}
	return h.field(offPrefAddress, 8)
}

// InitSize is described at PrefAddress.
func (h SetupHeader) InitSize() uint64 {
	if h.Version() < 0x20a {
		return 0
	}
	return h.field(offInitSize, 4)
}

// CmdlineSize is the longest command line that the kernel reads, without the
// final zero. Without a header it is that of every x86 kernel since 2.6.
func (h SetupHeader) CmdlineSize() uint64 {
	switch {
	case h == nil:
		return 2047
	case h.Version() < 0x206:
		return 255
	}
	return h.field(offCmdlineSize, 4)
}

// InitrdAddrMax is the highest address that a byte of the initrd may have.
// Without a header it is the value in every x86-64 kernel.
func (h SetupHeader) InitrdAddrMax() uint64 {
	switch {
	case h == nil:
		return 0x7fffffff
	case h.Version() < 0x203:
		return 0x37ffffff
	}
	return h.field(offInitrdAddrMax, 4)
}

// synthesised is the header for a kernel that came without one, an ELF vmlinux:
// what such a kernel would have declared where it reads it back.
func synthesised() SetupHeader {
	const version, kernelAlignment = 0x20f, 2 << 20
	h := make(SetupHeader, offInitSize+4-HeaderOffset)
	put := func(off int, width int, v uint64) {
		for i := range width {
			h[off-HeaderOffset+i] = byte(v >> (8 * i))
		}
	}
	put(offBootFlag, 2, bootFlag)
	put(offJump, 1, 0xeb) // jmp rel8 to the end of this header
	put(offJump+1, 1, offInitSize+4-offHeader)
	copy(h[offHeader-HeaderOffset:], signature)
	put(offVersion, 2, version)
	put(offInitrdAddrMax, 4, SetupHeader(nil).InitrdAddrMax())
	put(offKernelAlignment, 4, kernelAlignment)
	put(offXloadflags, 2, XLFKernel64)
	put(offCmdlineSize, 4, SetupHeader(nil).CmdlineSize())
	return h
}
