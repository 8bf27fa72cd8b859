package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"

	"doorbell/guest/bootparam"
	"doorbell/guest/memory"
)

// entry64 is the offset of the 64-bit entry point in the protected-mode code
// (boot.rst, "64-bit Boot Protocol").
const entry64 = 0x200

// minVersion is the first boot protocol that says where the payload is.
const minVersion = 0x208

// checkBzImage checks what a setup header claims against the file's size.
func checkBzImage(h bootparam.SetupHeader, size uint64) error {
	if h.Version() < minVersion {
		return fmt.Errorf("bzImage with boot protocol %s, at least 2.08 is needed", h.VersionString())
	}
	if uint64(h.DeclaredEnd()) > size {
		return fmt.Errorf("bzImage truncated at offset %#x, inside its setup header", size)
	}
	if h.Version() >= 0x20c && h.Xloadflags()&bootparam.XLFKernel64 == 0 {
		return errors.New("bzImage of a 32-bit kernel (no 64-bit entry point), not x86-64")
	}
	code := h.CodeOffset()
	if end := code + h.CodeSize(); h.CodeSize() == 0 {
		return errors.New("bzImage without protected-mode code")
	} else if end > size {
		return fmt.Errorf("bzImage truncated at offset %#x of %#x", size, end)
	}
	if off, n := h.Payload(); code+off+n > size {
		return fmt.Errorf("bzImage truncated at offset %#x, its payload ends at %#x", size, code+off+n)
	}
	return nil
}

// loadBzImage unpacks the vmlinux, or falls back to the image's own entry
// point. A kernel that is too large for guest memory is too large either way:
// its decompressor works in place and needs more.
func (im *Image) loadBzImage(mem *memory.Memory) (Loaded, error) {
	l, err := im.loadPayload(mem)
	if err != nil {
		if errors.Is(err, errNoRoom) {
			return Loaded{}, err
		}
		if im.setup.Xloadflags()&bootparam.XLFKernel64 == 0 {
			return Loaded{}, fmt.Errorf("%w; and the bzImage has no 64-bit entry point", err)
		}
		reason := err.Error()
		if l, err = im.loadOwnEntry(mem); err != nil {
			return Loaded{}, fmt.Errorf("%w (its 64-bit entry point was tried because: %s)", err, reason)
		}
		l.Format, l.Fallback = "bzImage 64-bit entry", reason
	}
	l.SetupHeader = im.setup
	return l, nil
}

// loadPayload loads the vmlinux in the payload. What a failed attempt wrote is
// cleared again, so that it does not stay committed.
func (im *Image) loadPayload(mem *memory.Memory) (Loaded, error) {
	off, n := im.setup.Payload()
	off += im.setup.CodeOffset()
	if n == 0 {
		return Loaded{}, errors.New("bzImage without a payload")
	}
	magic := make([]byte, min(n, 8))
	if err := readFull(im.file, magic, off); err != nil {
		return Loaded{}, err
	}
	c := detect(magic)
	switch {
	case c == codecNone:
		return Loaded{}, fmt.Errorf("payload has an unknown format (begins % x)", magic)
	case c == codecELF:
		l, err := loadELF(mem, &fileSource{&window{im.file, off}, n})
		l.Format = "vmlinux in bzImage (uncompressed)"
		return l, clearFailed(mem, l, err)
	case !c.supported():
		return Loaded{}, fmt.Errorf("%s payload is not supported", c)
	}

	// The kernel's build puts the unpacked size behind the payload; gzip has
	// it there by itself.
	if n < 4 {
		return Loaded{}, fmt.Errorf("%s payload truncated", c)
	}
	var word [4]byte
	if err := readFull(im.file, word[:], off+n-4); err != nil {
		return Loaded{}, err
	}
	if c != codecGzip {
		n -= 4
	}
	l, total, err := unpack(mem, c, im.file, off, n)
	if want := binary.LittleEndian.Uint32(word[:]); err == nil && total != wholeUnknown && uint32(total) != want {
		err = fmt.Errorf("%s payload unpacks to %d bytes and declares %d", c, total, want)
	}
	l.Format = fmt.Sprintf("vmlinux in bzImage (%s)", c)
	return l, clearFailed(mem, l, err)
}

func clearFailed(mem *memory.Memory, l Loaded, err error) error {
	if err != nil && l.End > l.Start {
		_ = mem.Zero(l.Start, l.End-l.Start)
	}
	return err
}

// loadOwnEntry loads the protected-mode code where the kernel prefers it.
// XLF_KERNEL_64 came with protocol 2.12, so pref_address and init_size exist.
func (im *Image) loadOwnEntry(mem *memory.Memory) (Loaded, error) {
	h := im.setup
	start := h.PrefAddress()
	if start == 0 {
		start = bootparam.BIOSEnd // where every bzImage could be loaded once
	}
	room := max(h.InitSize(), h.CodeSize())
	if _, err := mem.Bytes(start, room); err != nil {
		return Loaded{}, noRoom(start, room, mem)
	}
	code, err := mem.Bytes(start, h.CodeSize())
	if err != nil {
		return Loaded{}, noRoom(start, room, mem)
	}
	if len(code) <= entry64 {
		return Loaded{}, fmt.Errorf("bzImage truncated: %d bytes of code end before its 64-bit entry point", len(code))
	}
	if err := readFull(im.file, code, h.CodeOffset()); err != nil {
		return Loaded{}, err
	}
	return Loaded{Entry: start + entry64, Start: start, End: pageUp(start + room)}, nil
}
