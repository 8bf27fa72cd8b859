package multiboot

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"doorbell/guest/bootparam"
	"doorbell/guest/memory"
)

const (
	low, high = 1 << 20, 1 << 32
	linked    = 1 << 20 // where the test's images are linked
	text      = "the image's text"
)

var le = binary.LittleEndian

// header12 is a Multiboot header with these flags.
func header12(flags uint32) []byte {
	const magic = 0x1badb002
	b := le.AppendUint32(nil, magic)
	b = le.AppendUint32(b, flags)
	return le.AppendUint32(b, -(magic + flags))
}

// elfImage is an ELF file of a class with one segment, text and as much again of zeros, and a header after them.
func elfImage(class elf.Class, header []byte) []byte {
	const off = 0x100
	b := make([]byte, off)
	copy(b, elf.ELFMAG)
	b[elf.EI_CLASS], b[elf.EI_DATA] = byte(class), byte(elf.ELFDATA2LSB)
	if class == elf.ELFCLASS32 {
		le.PutUint16(b[18:], uint16(elf.EM_386))
		le.PutUint32(b[24:], linked+4)
		le.PutUint32(b[28:], 52)
		le.PutUint16(b[42:], 32)
		le.PutUint16(b[44:], 1)
		for i, v := range []uint32{uint32(elf.PT_LOAD), off, 0, linked, uint32(len(text)), uint32(2 * len(text))} {
			le.PutUint32(b[52+4*i:], v)
		}
	} else {
		le.PutUint16(b[18:], uint16(elf.EM_X86_64))
		le.PutUint64(b[24:], linked+4)
		le.PutUint64(b[32:], 64)
		le.PutUint16(b[54:], 56)
		le.PutUint16(b[56:], 1)
		le.PutUint32(b[64:], uint32(elf.PT_LOAD))
		for i, v := range []uint64{off, 0, linked, uint64(len(text)), uint64(2 * len(text))} {
			le.PutUint64(b[72+8*i:], v)
		}
	}
	b = append(b, text...)
	return append(b, header...)
}

// rawImage is a file without ELF: text, and a header of 32 bytes with these addresses after it.
func rawImage(h header) []byte {
	b := append([]byte(text), header12(flagAddresses)...)
	for _, v := range []uint32{h.header, h.load, h.loadEnd, h.bssEnd, h.entry} {
		b = le.AppendUint32(b, v)
	}
	return b
}

func guestMemory(t testing.TB) *memory.Memory {
	t.Helper()
	m, err := memory.NewHeap(4 << 20)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	all, err := m.Bytes(0, m.Size())
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		all[i] = 0xa5
	}
	return m
}

func open(b []byte) (*Image, error) { return New("test", bytes.NewReader(b), int64(len(b))) }

func TestImages(t *testing.T) {
	raw := header{header: linked + uint32(len(text)), load: linked, bssEnd: linked + 100, entry: linked}
	shifted := raw // the first 4 bytes of the file are not loaded
	shifted.load += 4
	shifted.entry += 4
	for _, c := range []struct {
		name, format       string
		image              []byte
		entry, start, size uint64 // size is of what is loaded
		first              string
		zeros              uint64 // after it
	}{
		{"ELF32", "Multiboot image (ELF32)", elfImage(elf.ELFCLASS32, header12(flagPageAlign|flagMemory)), linked + 4, linked, uint64(len(text)), text, uint64(len(text))},
		{"ELF64", "Multiboot image (ELF64)", elfImage(elf.ELFCLASS64, header12(0)), linked + 4, linked, uint64(len(text)), text, uint64(len(text))},
		{"optional flags", "Multiboot image (ELF32)", elfImage(elf.ELFCLASS32, header12(1<<20)), linked + 4, linked, uint64(len(text)), text, uint64(len(text))},
		{"addresses", "Multiboot image", rawImage(raw), linked, linked, uint64(len(text) + kludgeSize), text, 100 - uint64(len(text)+kludgeSize)},
		{"addresses, not from the beginning", "Multiboot image", rawImage(shifted), linked + 4, linked + 4, uint64(len(text) + kludgeSize - 4), text[4:], 96 - uint64(len(text)+kludgeSize-4)},
	} {
		t.Run(c.name, func(t *testing.T) {
			im, err := open(c.image)
			if err != nil {
				t.Fatal(err)
			}
			m := guestMemory(t)
			l, err := im.Load(m, low, high)
			if err != nil {
				t.Fatal(err)
			}
			if want := (Loaded{c.entry, c.start, (c.start + c.size + c.zeros + 4095) &^ 4095, c.format}); l != want {
				t.Errorf("loaded as %+v, want %+v", l, want)
			}
			b, _ := m.Bytes(c.start, c.size+c.zeros+1)
			if !bytes.HasPrefix(b, []byte(c.first)) || !bytes.Equal(b[c.size:c.size+c.zeros], make([]byte, c.zeros)) || b[c.size+c.zeros] != 0xa5 {
				t.Errorf("memory is % x", b)
			}
		})
	}
}

func TestBadImages(t *testing.T) {
	raw := header{header: linked + uint32(len(text)), load: linked, entry: linked}
	change := func(f func(h *header)) []byte { h := raw; f(&h); return rawImage(h) }
	patch := func(off int, v uint32) []byte {
		b := elfImage(elf.ELFCLASS32, header12(0))
		le.PutUint32(b[off:], v)
		return b
	}
	const ph = 52 // the program header
	for name, c := range map[string]struct {
		image []byte
		want  string
	}{
		"a video mode":            {elfImage(elf.ELFCLASS32, header12(flagVideo)), "asks for a video mode"},
		"an unknown requirement":  {elfImage(elf.ELFCLASS32, header12(1<<5)), "flags 0x20"},
		"no ELF":                  {append(make([]byte, 64), header12(0)...), "in a file that is no ELF"},
		"ELF of another class":    {append(append([]byte(elf.ELFMAG), make([]byte, 60)...), header12(0)...), "unknown class 0"},
		"ELF of another machine":  {patch(18, uint32(elf.EM_ARM)), "ELF for EM_ARM, not x86"},
		"program headers beyond":  {patch(28, 0xffff0000), "beyond its end"},
		"program headers' size":   {patch(42, 1<<16|33), "program headers of 33 bytes"},
		"nothing to load":         {patch(44, 0), "without anything to load"},
		"a segment beyond":        {patch(ph+4, 0x10000), "are beyond the file's end"},
		"more file than memory":   {patch(ph+20, 3), "bytes in the file and 0x3 in memory"},
		"the entry elsewhere":     {patch(24, 0x5), "entry point 0x5 is not within"},
		"below the low megabyte":  {func() []byte { b := patch(ph+12, 0x8000); le.PutUint32(b[24:], 0x8000); return b }(), "is linked for 0x8000-0x801f"},
		"above the memory":        {func() []byte { b := patch(ph+12, 0x80000000); le.PutUint32(b[24:], 0x80000000); return b }(), "does not fit in 4 MiB"},
		"larger than memory":      {patch(ph+20, 0xefff0000), "does not fit in 4 MiB"},
		"text after its header":   {change(func(h *header) { h.load = h.header + 1 }), "says that it is at"},
		"text before the file":    {change(func(h *header) { h.load -= 1000 }), "says that it is at"},
		"end beyond the file":     {change(func(h *header) { h.loadEnd = h.load + 1000 }), "load_end_addr 0x1003e8 is beyond the file"},
		"end before the text":     {change(func(h *header) { h.loadEnd = h.load - 1 }), "load_end_addr"},
		"bss that ends too early": {change(func(h *header) { h.bssEnd = h.load }), "is below load_end_addr"},
		"no room":                 {change(func(h *header) { h.bssEnd = 0xfffffff0 }), "does not fit in 4 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			im, err := open(c.image)
			if err == nil {
				_, err = im.Load(guestMemory(t), low, high)
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// TestNoMultiboot: what is not recognised is left to others to look at.
func TestNoMultiboot(t *testing.T) {
	wrongSum := header12(0)
	wrongSum[8]++
	for name, b := range map[string][]byte{
		"empty":             {},
		"wrong checksum":    wrongSum,
		"not aligned":       append([]byte{0, 0}, header12(0)...),
		"too late":          append(make([]byte, searchSize), header12(0)...),
		"across the limit":  append(make([]byte, searchSize-8), header12(0)...),
		"addresses too few": append(make([]byte, searchSize-16), rawImage(header{})[len(text):]...),
	} {
		if _, err := open(b); !errors.Is(err, ErrNone) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOverlap(t *testing.T) {
	im := &Image{segments: []segment{{0, 1, linked + 10, 20}, {0, 1, linked, 11}}, entry: linked}
	if err := im.check(); err == nil || !strings.Contains(err.Error(), "overlap") {
		t.Error(err)
	}
}

func TestInfo(t *testing.T) {
	i := Info{Cmdline: 0x20000, LoaderName: 0x7100, Module: &Module{0x200000, 0x200014, 0x7200}, ModuleList: 0x8000, MemoryMap: 0x9000,
		E820: []bootparam.E820Entry{{Addr: 0, Size: 639 << 10, Type: bootparam.E820RAM}, {Addr: 1 << 20, Size: 63 << 20, Type: bootparam.E820RAM}}}
	info, modules, memoryMap := i.Bytes()
	for off, want := range map[int]uint32{0: 0x24d, 4: 639, 8: 63 << 10, 16: 0x20000, 20: 1, 24: 0x8000, 44: 48, 48: 0x9000, 64: 0x7100} {
		if got := le.Uint32(info[off:]); got != want {
			t.Errorf("information at %d is %#x, want %#x", off, got, want)
		}
	}
	if len(info) != InfoSize || len(modules) != 16 || le.Uint32(modules[4:]) != 0x200014 || le.Uint32(modules[8:]) != 0x7200 {
		t.Errorf("%d bytes of information, modules % x", len(info), modules)
	}
	// Each entry begins with the size of its rest (section 3.3).
	if len(memoryMap) != 48 || le.Uint32(memoryMap) != 20 || le.Uint64(memoryMap[28:]) != 1<<20 || le.Uint32(memoryMap[44:]) != 1 {
		t.Errorf("memory map % x", memoryMap)
	}
	i.Module = nil
	if info, modules, _ := i.Bytes(); le.Uint32(info)&infoModules != 0 || modules != nil {
		t.Error("a module that is not there")
	}
}

// FuzzImage: no file makes the loader panic or write where it says that it has not.
func FuzzImage(f *testing.F) {
	f.Add([]byte{})
	f.Add(elfImage(elf.ELFCLASS32, header12(flagMemory)))
	f.Add(elfImage(elf.ELFCLASS64, header12(0)))
	f.Add(rawImage(header{header: linked + uint32(len(text)), load: linked, bssEnd: linked + 100, entry: linked}))
	m, err := memory.NewHeap(4 << 20)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		im, err := open(b)
		if err != nil {
			return
		}
		l, err := im.Load(m, low, high)
		if err == nil && (l.Start < low || l.End > m.Size() || l.Entry < l.Start || l.Entry >= l.End) {
			t.Fatalf("%+v", l)
		}
	})
}
