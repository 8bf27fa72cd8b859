package kernel

import (
	"bytes"
	"encoding/binary"
	"flag"
	"io"
	"os"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"

	"doorbell/guest/bootparam"
	"doorbell/guest/memory"
)

// The fixture testdata/vmlinux-x86.xz was made from the file that this writes:
//
//	go test ./guest/kernel -run TestXzX86Filter -dump-vmlinux vmlinux
//	xz --check=crc32 --x86 --lzma2=dict=32MiB -c vmlinux > vmlinux-x86.xz
var dumpVmlinux = flag.String("dump-vmlinux", "", "write the test kernel to this file")

// testSegment is one PT_LOAD segment of a made-up kernel.
type testSegment struct {
	paddr, off uint64
	data       []byte
	memsz      uint64 // at least len(data)
}

// elfFile builds an ELF executable for x86-64 with the segments given.
func elfFile(entry uint64, segs ...testSegment) []byte {
	le := binary.LittleEndian
	b := make([]byte, ehdrSize+phdrSize*len(segs))
	copy(b, "\x7fELF\x02\x01\x01")
	le.PutUint16(b[16:], 2)  // ET_EXEC
	le.PutUint16(b[18:], 62) // EM_X86_64
	le.PutUint32(b[20:], 1)
	le.PutUint64(b[24:], entry)
	le.PutUint64(b[32:], ehdrSize)
	le.PutUint16(b[52:], ehdrSize)
	le.PutUint16(b[54:], phdrSize)
	le.PutUint16(b[56:], uint16(len(segs)))
	for i, s := range segs {
		ph := b[ehdrSize+phdrSize*i:]
		le.PutUint32(ph, 1) // PT_LOAD
		le.PutUint64(ph[8:], s.off)
		le.PutUint64(ph[24:], s.paddr)
		le.PutUint64(ph[32:], uint64(len(s.data)))
		le.PutUint64(ph[40:], s.memsz)
	}
	for _, s := range segs {
		if end := s.off + uint64(len(s.data)); uint64(len(b)) < end {
			b = append(b, make([]byte, end-uint64(len(b)))...)
		}
		copy(b[s.off:], s.data)
	}
	return b
}

const testEntry = 0x200000 + 0x40

// testSegments is a kernel of 44 KiB in memory: code full of relative calls,
// which the x86 filter of xz rewrites, and data followed by BSS.
func testSegments() []testSegment {
	var text []byte
	for i := range 4000 {
		text = append(text, 0xe8)
		text = binary.LittleEndian.AppendUint32(text, uint32(0x9000-5*i))
	}
	data := bytes.Repeat([]byte("data, not code; "), 256)
	return []testSegment{
		{paddr: 0x200000, off: 0x1000, data: text, memsz: uint64(len(text))},
		{paddr: 0x208000, off: 0x8000, data: data, memsz: uint64(len(data)) + 0x2100},
	}
}

// testVmlinux is the kernel of testSegments, with something behind the last
// segment as the relocations are in a real one.
func testVmlinux() []byte {
	return append(elfFile(testEntry, testSegments()...), bytes.Repeat([]byte("relocs"), 100)...)
}

// pack compresses in the way the kernel's build does, without the size word.
func pack(t testing.TB, c codec, plain []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	var err error
	switch c {
	case codecELF:
		return plain
	case codecGzip:
		w = gzip.NewWriter(&out)
	case codecXz:
		w, err = xz.WriterConfig{DictCap: 1 << 20, CheckSum: xz.CRC32}.NewWriter(&out)
	case codecZstd:
		w, err = zstd.NewWriter(&out, zstd.WithWindowSize(1<<20), zstd.WithEncoderConcurrency(1))
	case codecLZ4:
		z := lz4.NewWriter(&out)
		err, w = z.Apply(lz4.LegacyOption(true)), z
	default:
		t.Fatalf("no encoder for %s", c)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// payload is pack with the size word that ends a bzImage's payload.
func payload(t testing.TB, c codec, plain []byte) []byte {
	p := pack(t, c, plain)
	if c == codecGzip || c == codecELF {
		return p
	}
	return binary.LittleEndian.AppendUint32(p[:len(p):len(p)], uint32(len(plain)))
}

const (
	testPref     = 0x400000
	testInitSize = 0x180000
)

// bzImageFile wraps a payload in a bzImage of boot protocol 2.15; change may
// edit the file's fields before it is used.
func bzImageFile(payload []byte, change func(put func(off int, v uint32))) []byte {
	const sects, payloadOffset = 4, 0x2c0
	le := binary.LittleEndian
	b := make([]byte, 512*(sects+1)+payloadOffset)
	code := b[512*(sects+1):]
	for i := range code {
		code[i] = byte(i * 7)
	}
	b = append(b, payload...)
	for (len(b)-512*(sects+1))%16 != 0 {
		b = append(b, 0)
	}
	copy(b, "MZ")
	put := func(off int, v uint32) { le.PutUint32(b[off:], v) }
	b[0x1f1] = sects
	put(0x1f4, uint32(len(b)-512*(sects+1))/16)
	le.PutUint16(b[0x1fe:], 0xaa55)
	copy(b[0x200:], "\xeb\x6aHdrS")
	le.PutUint16(b[0x206:], 0x20f)
	b[0x211] = bootparam.LoadedHigh
	put(0x22c, 0x7fffffff)
	put(0x230, 0x200000)
	le.PutUint16(b[0x236:], bootparam.XLFKernel64)
	put(0x238, 2047)
	put(0x248, payloadOffset)
	put(0x24c, uint32(len(payload)))
	put(0x258, testPref)
	put(0x260, testInitSize)
	if change != nil {
		change(put)
	}
	return b
}

// dirtyMemory is guest memory in which nothing is zero.
func dirtyMemory(t testing.TB, size uint64) *memory.Memory {
	t.Helper()
	m, err := memory.NewHeap(size)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := m.Bytes(0, size)
	for i := range b {
		b[i] = 0xcc
	}
	return m
}

// wantSegments compares guest memory with a kernel's segments.
func wantSegments(t *testing.T, m *memory.Memory, segs []testSegment) {
	t.Helper()
	for _, s := range segs {
		got, err := m.Bytes(s.paddr, s.memsz)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got[:len(s.data)], s.data) {
			t.Errorf("segment at %#x differs from the file", s.paddr)
		}
		if len(bytes.Trim(got[len(s.data):], "\x00")) != 0 {
			t.Errorf("BSS of the segment at %#x is not zero", s.paddr)
		}
	}
}

func newImage(t testing.TB, b []byte) *Image {
	t.Helper()
	im, err := New("bzImage", bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return im
}

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
