package kernel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"doorbell/guest/memory"
)

// guestSize holds the test kernels and leaves nothing to spare for a bomb.
const guestSize = 8 << 20

var packed = []codec{codecELF, codecGzip, codecXz, codecZstd, codecLZ4}

func TestLoadBzImage(t *testing.T) {
	for _, c := range packed {
		t.Run(c.String(), func(t *testing.T) {
			im := newImage(t, bzImageFile(payload(t, c, testVmlinux()), nil))
			m := dirtyMemory(t, guestSize)
			for range 2 { // a reset loads the kernel again
				l, err := im.Load(m)
				if err != nil {
					t.Fatal(err)
				}
				name := c.String()
				if c == codecELF {
					name = "uncompressed"
				}
				if want := fmt.Sprintf("vmlinux in bzImage (%s)", name); l.Format != want || l.Fallback != "" {
					t.Errorf("format %q, fallback %q; want %q", l.Format, l.Fallback, want)
				}
				if l.Entry != testEntry || l.Start != 0x200000 || l.End != 0x20c000 {
					t.Errorf("entry %#x, [%#x, %#x)", l.Entry, l.Start, l.End)
				}
				if l.SetupHeader.Version() != 0x20f || l.SetupHeader.InitSize() != testInitSize {
					t.Errorf("setup header %x", []byte(l.SetupHeader))
				}
				wantSegments(t, m, testSegments())
			}
			around, _ := m.Bytes(0x1ff000, 0x1000)
			if bytes.Count(around, []byte{0xcc}) != 0x1000 {
				t.Error("something was written below the kernel")
			}
		})
	}
}

func TestLoadVmlinux(t *testing.T) {
	for _, c := range packed {
		t.Run(c.String(), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "vmlinux")
			if err := os.WriteFile(path, pack(t, c, testVmlinux()), 0o644); err != nil {
				t.Fatal(err)
			}
			im, err := Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := im.Close(); err != nil {
					t.Error(err)
				}
			}()
			m := dirtyMemory(t, guestSize)
			l, err := im.Load(m)
			if err != nil {
				t.Fatal(err)
			}
			want := "vmlinux"
			if c != codecELF {
				want = fmt.Sprintf("vmlinux (%s)", c)
			}
			if l.Format != want || l.Entry != testEntry || l.SetupHeader != nil || im.SetupHeader() != nil {
				t.Errorf("loaded %+v, want format %q", l, want)
			}
			wantSegments(t, m, testSegments())
		})
	}
}

// xz kernels are packed with the x86 branch filter in front of LZMA2.
func TestXzX86Filter(t *testing.T) {
	if *dumpVmlinux != "" {
		if err := os.WriteFile(*dumpVmlinux, testVmlinux(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	fixture := readFile(t, "testdata/vmlinux-x86.xz")
	// .xz file format, block header: flags with the number of filters less
	// one, then the first filter's ID; 4 is BCJ x86.
	if fixture[13]&3 != 1 || fixture[14] != 4 {
		t.Fatalf("the fixture has no x86 filter: block header % x", fixture[12:20])
	}
	size := len(testVmlinux())
	word := []byte{byte(size), byte(size >> 8), byte(size >> 16), 0}
	im := newImage(t, bzImageFile(append(fixture, word...), nil))
	m := dirtyMemory(t, guestSize)
	l, err := im.Load(m)
	if err != nil || l.Format != "vmlinux in bzImage (xz)" {
		t.Fatalf("loaded %+v, error %v", l, err)
	}
	wantSegments(t, m, testSegments())
}

// A kernel larger than LZ4's blocks: whole blocks are unpacked in place, the
// pieces at the ends of segments through the scratch buffer.
func TestLoadManyLZ4Blocks(t *testing.T) {
	numbered := func(n int, start uint64) []byte {
		b := make([]byte, 0, n+8)
		for i := start; len(b) < n; i++ {
			b = binary.LittleEndian.AppendUint64(b, i)
		}
		return b[:n]
	}
	segs := []testSegment{
		{paddr: 16 << 20, off: 2 << 20, data: numbered(19<<20, 1), memsz: 19 << 20},
		{paddr: 35 << 20, off: 23 << 20, data: numbered(5<<20+5, 1<<30), memsz: 8 << 20},
	}
	im := newImage(t, bzImageFile(payload(t, codecLZ4, elfFile(16<<20, segs...)), nil))
	m, err := memory.New(64 << 20)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	l, err := im.Load(m)
	runtime.ReadMemStats(&after)
	if err != nil || l.Format != "vmlinux in bzImage (lz4)" {
		t.Fatalf("loaded %+v, error %v", l, err)
	}
	wantSegments(t, m, segs)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("loading 24 MiB allocated %d bytes of heap", n)
	}
}

func TestFallback(t *testing.T) {
	good := func(c codec) []byte { return payload(t, c, testVmlinux()) }
	damaged := func(c codec) []byte {
		p := good(c)
		// In the middle of the data, behind every header.
		for i := len(p) / 2; i < len(p)/2+16; i++ {
			p[i] ^= 0xff
		}
		return p
	}
	short := func(c codec) []byte { p := good(c); return p[:len(p)/2] }
	wrongSize := func(c codec) []byte { p := good(c); p[len(p)-4]++; return p }
	arm := testVmlinux()
	arm[18] = 183
	for _, c := range []struct {
		name    string
		payload []byte
		want    string // how the reason begins
	}{
		{"gzip damaged", damaged(codecGzip), "gzip: "},
		{"xz damaged", damaged(codecXz), "xz: "},
		{"zstd damaged", damaged(codecZstd), "zstd: "},
		{"gzip short", short(codecGzip), "gzip: truncated or corrupt behind "},
		{"xz short", short(codecXz), "xz: truncated or corrupt behind "},
		{"zstd short", short(codecZstd), "zstd: truncated or corrupt behind "},
		{"lz4 short", short(codecLZ4), "lz4: truncated or corrupt behind 0 unpacked bytes: unexpected EOF"},
		{"lz4 size", wrongSize(codecLZ4), fmt.Sprintf("lz4 payload unpacks to %d bytes and declares %d", len(testVmlinux()), len(testVmlinux())+1)},
		{"lz4 block of 4 GiB", []byte("\x02\x21\x4c\x18\xff\xff\xff\xff\x00\x00\x00\x00"), "lz4: truncated or corrupt behind 0 unpacked bytes: corrupt block of 4294967295 bytes"},
		{"bzip2", []byte("BZh91AY&SY....."), "bzip2 payload is not supported"},
		{"lzma", []byte("\x5d\x00\x00\x80\x00\xff\xff\xff\xff"), "lzma payload is not supported"},
		{"lzo", []byte("\x89LZO\x00\x0d\x0a\x1a\x0a"), "lzo payload is not supported"},
		{"unknown", []byte("\x01\x02\x03\x04payload"), "payload has an unknown format (begins 01 02 03 04 70 61 79 6c)"},
		{"none", nil, "bzImage without a payload"},
		{"tiny", []byte("\x1f\x8b"), "gzip payload truncated"},
		{"arm64 inside", payload(t, codecLZ4, arm), "lz4: ELF for arm64 (AArch64), not x86-64"},
		{"text inside", payload(t, codecGzip, []byte("hello world, no kernel")), `gzip: no vmlinux inside: text file (begins "hello world, no kernel"), not an x86-64 kernel`},
		{"uncompressed, short", testVmlinux()[:0x2000], "truncated at offset 0x2000 of 0x5e20: unexpected EOF"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := bzImageFile(c.payload, nil)
			m := dirtyMemory(t, guestSize)
			l, err := newImage(t, file).Load(m)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.HasPrefix([]byte(l.Fallback), []byte(c.want)) {
				t.Errorf("reason %q, want it to begin %q", l.Fallback, c.want)
			}
			if l.Format != "bzImage 64-bit entry" || l.Entry != testPref+0x200 || l.Start != testPref ||
				l.End != testPref+testInitSize || l.SetupHeader == nil {
				t.Errorf("loaded %+v", l)
			}
			code := file[5*512:]
			if got, _ := m.Bytes(testPref, uint64(len(code))); !bytes.Equal(got, code) {
				t.Error("the protected-mode code in guest memory differs from the file")
			}
		})
	}
}

// failingReader fails from an offset on, as a disk does.
type failingReader struct {
	io.ReaderAt
	limit int64
}

var errDisk = errors.New("input/output error")

func (r failingReader) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > r.limit {
		return 0, errDisk
	}
	return r.ReaderAt.ReadAt(p, off)
}

func TestReadErrorIsReported(t *testing.T) {
	b := testVmlinux()
	im, err := New("vmlinux", failingReader{bytes.NewReader(b), headSize}, int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := im.Load(dirtyMemory(t, guestSize)); !errors.Is(err, errDisk) || err.Error() != "kernel vmlinux: input/output error" {
		t.Errorf("error %v", err)
	}
}
