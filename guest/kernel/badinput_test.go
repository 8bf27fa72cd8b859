package kernel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"doorbell/guest/memory"
)

// tryLoad opens and loads a file and returns whichever error comes first.
func tryLoad(t testing.TB, path string, size uint64) (Loaded, error) {
	t.Helper()
	im, err := Open(path)
	if err != nil {
		return Loaded{}, err
	}
	defer func() { _ = im.Close() }()
	m, err := memory.New(size)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	return im.Load(m)
}

func edit(b []byte, at int, with string) []byte {
	b = bytes.Clone(b)
	copy(b[at:], with)
	return b
}

func TestBadInput(t *testing.T) {
	image := bzImageFile(payload(t, codecLZ4, testVmlinux()), nil)
	vmlinux := testVmlinux()
	pad := make([]byte, 0x100)
	at := func(s ...testSegment) []byte { return elfFile(s[0].paddr, s...) }
	one := []byte{0x90}
	pe := func(machine string) []byte {
		return edit(edit(edit(make([]byte, 512), 0, "MZ"), 0x3c, "\x80\x00\x00\x00"), 0x80, "PE\x00\x00"+machine)
	}
	bomb := testVmlinux()
	binary.LittleEndian.PutUint64(bomb[ehdrSize+8:], 1<<40)
	for _, c := range []struct {
		name string
		file []byte
		want string // behind "kernel FILE: "
	}{
		{"empty", nil, "the file is empty"},
		{"one byte", []byte("M"), `text file (begins "M"), not an x86-64 kernel`},
		{"text", []byte("#!/bin/sh\necho hello\n"), `text file (begins "#!/bin/sh"), not an x86-64 kernel`},
		{"zeros", make([]byte, 8192), "neither a bzImage nor an ELF vmlinux (begins 00 00 00 00 00 00 00 00)"},
		{"arm64 Image", edit(pad, 0x38, "ARM\x64"), "arm64 (AArch64) Image, not an x86-64 kernel"},
		{"riscv Image", edit(pad, 0x38, "RSC\x05"), "RISC-V Image, not an x86-64 kernel"},
		{"arm zImage", edit(pad, 0x24, "\x18\x28\x6f\x01"), "32-bit Arm zImage, not an x86-64 kernel"},
		{"initramfs", []byte("070701000000"), "cpio archive (an initramfs?), not an x86-64 kernel"},
		{"U-Boot", []byte("\x27\x05\x19\x56...."), "U-Boot image, not an x86-64 kernel"},
		{"arm64 EFI", pe("\x64\xaa"), "EFI program for arm64 (AArch64) without a Linux setup header, not a bzImage"},
		{"x86-64 EFI", pe("\x64\x86"), "EFI program for x86-64 without a Linux setup header, not a bzImage"},
		{"MZ only", []byte("MZ\x90\x00"), "EFI program without a Linux setup header, not a bzImage"},
		{"bzip2", []byte("BZh91AY&SY"), "bzip2 compression is not supported; gzip, xz, zstd and LZ4 (legacy frame) are"},
		{"lz4 frame", []byte("\x04\x22\x4d\x18...."), "lz4 frame compression is not supported; gzip, xz, zstd and LZ4 (legacy frame) are"},
		{"packed arm64 Image", pack(t, codecGzip, edit(pad, 0x38, "ARM\x64")), "gzip: no vmlinux inside: arm64 (AArch64) Image, not an x86-64 kernel"},
		{"packed initramfs", pack(t, codecZstd, []byte("07070100000000")), "zstd: no vmlinux inside: cpio archive (an initramfs?), not an x86-64 kernel"},
		{"gzip cut in its header", []byte("\x1f\x8b"), "gzip: unexpected EOF"},
		{"xz cut in its header", []byte("\xfd7zXZ\x00\x00"), "xz: data is truncated or corrupt"},

		{"bzImage cut in its header", image[:0x230], "bzImage truncated at offset 0x230, inside its setup header"},
		{"bzImage cut in its setup", image[:0x600], "bzImage truncated at offset 0x600 of"},
		{"bzImage cut in its code", image[:0xb00], "bzImage truncated at offset 0xb00 of"},
		{"bzImage, last byte gone", image[:len(image)-1], "bzImage truncated at offset"},
		{"payload beyond the file", bzImageFile(one, func(put func(int, uint32)) { put(0x24c, math.MaxUint32) }), "bzImage truncated at offset 0xcd0, its payload ends at 0x100000cbf"},
		{"no code", bzImageFile(one, func(put func(int, uint32)) { put(0x1f4, 0) }), "bzImage without protected-mode code"},
		{"old protocol", edit(image, 0x206, "\x07\x02"), "bzImage with boot protocol 2.07, at least 2.08 is needed"},
		{"32-bit", edit(image, 0x236, "\x00\x00"), "bzImage of a 32-bit kernel (no 64-bit entry point), not x86-64"},
		{"32-bit, old protocol", edit(edit(bzImageFile([]byte("BZh9xxxx"), nil), 0x206, "\x08\x02"), 0x236, "\x00\x00"),
			"bzip2 payload is not supported; and the bzImage has no 64-bit entry point"},
		{"own entry too large", bzImageFile([]byte("BZh9xxxx"), func(put func(int, uint32)) { put(0x260, 64<<20) }),
			"64 MiB at 0x400000 does not fit in 8 MiB of guest memory (its 64-bit entry point was tried because: bzip2 payload is not supported)"},
		{"own entry nowhere", bzImageFile([]byte("BZh9xxxx"), func(put func(int, uint32)) { put(0x25c, math.MaxUint32) }),
			"2 MiB at 0xffffffff00400000 does not fit in 8 MiB of guest memory"},

		{"ELF cut in its header", vmlinux[:63], "ELF header: truncated at offset 0x3f of 0x40"},
		{"ELF cut in its program headers", vmlinux[:100], "ELF program headers: truncated at offset 0x64 of 0xb0"},
		{"ELF cut in a segment", vmlinux[:0x2000], "truncated at offset 0x2000 of 0x5e20"},
		{"arm64 ELF", edit(vmlinux, 18, "\xb7"), "ELF for arm64 (AArch64), not x86-64"},
		{"i386 ELF", edit(edit(vmlinux, 4, "\x01"), 18, "\x03"), "ELF for 32-bit x86, not x86-64"},
		{"x32 ELF", edit(vmlinux, 4, "\x01"), "32-bit ELF for x86-64 (x32), not a 64-bit kernel"},
		{"s390x ELF", edit(edit(vmlinux, 5, "\x02"), 16, "\x00\x02\x00\x16"), "ELF for s390x, not x86-64"},
		{"big-endian x86-64 ELF", edit(edit(vmlinux, 5, "\x02"), 16, "\x00\x02\x00\x3e"), "big-endian ELF, not x86-64"},
		{"ELF class 9", edit(vmlinux, 4, "\x09"), "ELF of unknown class 9"},
		{"module", edit(vmlinux, 16, "\x01"), "ELF relocatable object, not an executable like vmlinux"},
		{"library", edit(vmlinux, 16, "\x03"), "ELF shared object or position-independent program, not an executable like vmlinux"},
		{"odd program headers", edit(vmlinux, 54, "\x20"), "ELF program headers of 32 bytes, want 56"},
		{"far program headers", edit(vmlinux, 32, "\xff\xff\xff\xff\xff\xff\xff\xff"), "ELF has 2 program headers at offset 0xffffffffffffffff, beyond its first 64 KiB"},
		{"no segments", elfFile(0), "ELF without anything to load"},
		{"entry outside", elfFile(0x100000, testSegments()...), "ELF entry point 0x100000 is not within a segment's physical addresses"},
		{"filesz > memsz", at(testSegment{0x200000, 0x1000, make([]byte, 32), 16}), "ELF segment at 0x200000 has 0x20 bytes in the file and 0x10 in memory"},
		{"wraps", at(testSegment{math.MaxUint64 - 15, 0x1000, one, 32}), "ELF segment at 0xfffffffffffffff0 of 0x20 bytes wraps around"},
		{"overlap", at(testSegment{0x200000, 0x1000, one, 0x2000}, testSegment{0x201fff, 0x2000, one, 1}), "ELF segments at 0x200000 and 0x201fff overlap"},
		{"larger than memory", at(testSegment{0x200000, 0x1000, one, 7 << 20}), "segment of 7 MiB at 0x200000 does not fit in 8 MiB of guest memory"},
		{"beyond memory", at(testSegment{0x4000000, 0x1000, one, 0x1000}), "segment of 4 KiB at 0x4000000 does not fit in 8 MiB of guest memory"},
		{"huge", at(testSegment{0x200000, 0x1000, one, 1 << 62}), "segment of 4398046511104 MiB at 0x200000 does not fit in 8 MiB of guest memory"},
		{"a segment far into the stream", pack(t, codecLZ4, bomb), "lz4: segment at file offset 0x10000000000 is farther than 8 MiB of guest memory reach"},
		{"overlap in the stream", pack(t, codecGzip, at(testSegment{0x200000, 0x1000, make([]byte, 0x100), 0x100}, testSegment{0x300000, 0x1080, make([]byte, 0x100), 0x100})),
			"gzip: ELF segments overlap in the file at offset 0x1080"},
		{"too large in a bzImage", bzImageFile(payload(t, codecGzip, at(testSegment{0x200000, 0x1000, one, 8 << 20})), nil),
			"gzip: segment of 8 MiB at 0x200000 does not fit in 8 MiB of guest memory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "k")
			if err := os.WriteFile(path, c.file, 0o644); err != nil {
				t.Fatal(err)
			}
			l, err := tryLoad(t, path, guestSize)
			if err == nil {
				t.Fatalf("loaded %+v", l)
			}
			if want := "kernel " + path + ": " + c.want; !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %q\nwant  %q", err, want)
			}
		})
	}
}

func TestBadPaths(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(dir, "missing")
	for path, want := range map[string]string{
		missing: "no such file or directory", dir: "is a directory", fifo: "is not a regular file",
	} {
		if _, err := Open(path); err == nil || err.Error() != "kernel "+path+": "+want {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	if _, err := Open(missing); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the cause is lost in %v", err)
	}
}

// A segment may lie below the hole or above it, not in it.
func TestSegmentsAndTheHole(t *testing.T) {
	for _, c := range []struct {
		paddr, memsz uint64
		ok           bool
	}{
		{memory.HoleStart - 0x1000, 0x1000, true},
		{memory.HoleStart - 0x1000, 0x1001, false},
		{memory.HoleStart, 0x1000, false},
		{memory.HoleEnd - 0x1000, 0x2000, false},
		{memory.HoleEnd, 0x1000, true},
	} {
		path := filepath.Join(t.TempDir(), "k")
		file := elfFile(c.paddr, testSegment{c.paddr, 0x1000, []byte{0xf4}, c.memsz})
		if err := os.WriteFile(path, file, 0o644); err != nil {
			t.Fatal(err)
		}
		if l, err := tryLoad(t, path, 4<<30); (err == nil) != c.ok {
			t.Errorf("segment [%#x, +%#x): %+v, error %v", c.paddr, c.memsz, l, err)
		}
	}
}

// However a file is cut, it is refused with an offset, or, where only the
// payload suffers and the header does not know, loaded by its own entry.
func TestTruncatedAnywhere(t *testing.T) {
	for _, c := range packed {
		for kind, file := range map[string][]byte{
			"bzImage": bzImageFile(payload(t, c, testVmlinux()), nil),
			"vmlinux": pack(t, c, testVmlinux()),
		} {
			m := dirtyMemory(t, guestSize)
			step := max(1, len(file)/200)
			end := len(file) - 1
			if kind == "vmlinux" && c == codecELF {
				end = 0x9000 - 1 // what follows the last segment is not needed
			}
			for n := 1; n <= end; n += step {
				im, err := New("k", bytes.NewReader(file[:n]), int64(n))
				if err != nil {
					continue
				}
				if l, err := im.Load(m); err == nil {
					t.Errorf("%s %s cut at %#x of %#x: loaded %+v", c, kind, n, len(file), l)
				}
			}
		}
	}
}

// A stream that unpacks without end behind a small kernel is given up.
func TestBomb(t *testing.T) {
	zeros := make([]byte, tailLimit+(8<<20))
	plain := append(testVmlinux(), zeros...)
	for _, c := range []codec{codecGzip, codecLZ4} {
		src, err := c.decoder(bytes.NewReader(pack(t, c, plain)))
		if err != nil {
			t.Fatal(err)
		}
		s := newStreamSource(src)
		m := dirtyMemory(t, guestSize)
		if _, total, err := loadStream(m, s); err != nil || total != wholeUnknown {
			t.Errorf("%s: total %d, error %v", c, total, err)
		}
		if s.pos >= uint64(len(plain)) {
			t.Errorf("%s: all %d bytes were unpacked", c, s.pos)
		}
		src.close()
		wantSegments(t, m, testSegments())
	}
}
