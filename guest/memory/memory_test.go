package memory

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func open(t testing.TB, size uint64) *Memory {
	t.Helper()
	m, err := New(size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func TestNewRefusesBadSizes(t *testing.T) {
	for _, c := range []struct {
		size uint64
		want string
	}{
		{0, "guest memory: size is zero"},
		{4095, "guest memory: size 4095 is not a multiple of 4 KiB"},
		{1<<46 + 4096, "more than the supported 64 TiB"},
		{math.MaxUint64 &^ 4095, "more than the supported 64 TiB"},
	} {
		for name, f := range map[string]func(uint64) (*Memory, error){"New": New, "NewHeap": NewHeap} {
			if _, err := f(c.size); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s(%d): error %v, want %q", name, c.size, err, c.want)
			}
		}
	}
}

func TestRegions(t *testing.T) {
	type piece struct{ gpa, size uint64 }
	const gib = 1 << 30
	for _, c := range []struct {
		size uint64
		want []piece
	}{
		{4096, []piece{{0, 4096}}},
		{512 << 20, []piece{{0, 512 << 20}}},
		{3 * gib, []piece{{0, 3 * gib}}},
		{3*gib + 4096, []piece{{0, 3 * gib}, {4 * gib, 4096}}},
		{4 * gib, []piece{{0, 3 * gib}, {4 * gib, gib}}},
		{64 * gib, []piece{{0, 3 * gib}, {4 * gib, 61 * gib}}},
		{1024 * gib, []piece{{0, 3 * gib}, {4 * gib, 1021 * gib}}},
	} {
		m := open(t, c.size)
		if m.Size() != c.size {
			t.Errorf("Size() = %d, want %d", m.Size(), c.size)
		}
		rs := m.Regions()
		if len(rs) != len(c.want) {
			t.Fatalf("%s: %d regions, want %d", FormatSize(c.size), len(rs), len(c.want))
		}
		for i, r := range rs {
			if r.GPA != c.want[i].gpa || r.Size != c.want[i].size || uint64(len(r.Host)) != r.Size {
				t.Errorf("%s: region %d is %#x+%#x (%#x host bytes), want %#x+%#x",
					FormatSize(c.size), i, r.GPA, r.Size, len(r.Host), c.want[i].gpa, c.want[i].size)
			}
			// The last byte of every region works, and a slice reaches no
			// further than its region.
			if err := m.WriteAt([]byte{0xa5}, r.GPA+r.Size-1); err != nil || r.Host[r.Size-1] != 0xa5 {
				t.Errorf("%s: last byte of region %d: %v", FormatSize(c.size), i, err)
			}
			if b, err := m.Bytes(r.GPA, 16); err != nil || cap(b) != 16 {
				t.Errorf("Bytes: cap %d, error %v", cap(b), err)
			}
		}
		if a := address(rs[0].Host); a%hugePageSize != 0 {
			t.Errorf("host address %#x is not aligned to 2 MiB", a)
		}
	}
}

func TestBytesBounds(t *testing.T) {
	small, big := open(t, 1<<20), open(t, 5<<30)
	for _, c := range []struct {
		m      *Memory
		gpa, n uint64
		ok     bool
	}{
		{small, 0, 1 << 20, true},
		{small, 1 << 20, 0, true},
		{small, 1<<20 - 1, 2, false},
		{small, 1 << 20, 1, false},
		{small, 1<<20 + 1, 0, false},
		{small, 4096, math.MaxUint64, false},
		{small, math.MaxUint64, 1, false},
		{small, math.MaxUint64, math.MaxUint64, false},
		{small, HoleEnd, 0, false},
		{big, HoleStart - 1, 1, true},
		{big, HoleStart - 1, 2, false},
		{big, HoleStart, 1, false},
		{big, HoleStart - 8, 1<<30 + 16, false},
		{big, HoleEnd - 1, 1, false},
		{big, HoleEnd, 2 << 30, true},
		{big, HoleEnd, 2<<30 + 1, false},
		{big, 0, 5 << 30, false},
	} {
		b, err := c.m.Bytes(c.gpa, c.n)
		if c.ok != (err == nil) || c.ok && uint64(len(b)) != c.n {
			t.Errorf("Bytes(%#x, %#x) of %s: %d bytes, error %v", c.gpa, c.n, FormatSize(c.m.Size()), len(b), err)
		}
		var re *RangeError
		if err != nil && (!errors.As(err, &re) || re.GPA != c.gpa || re.Len != c.n) {
			t.Errorf("Bytes(%#x, %#x): error %#v is not the RangeError of the request", c.gpa, c.n, err)
		}
	}
	if err := big.WriteAt(make([]byte, 16), HoleStart-8); err == nil {
		t.Error("WriteAt across the start of the hole succeeded")
	}
	if err := big.ReadAt(make([]byte, 16), HoleEnd-8); err == nil {
		t.Error("ReadAt across the end of the hole succeeded")
	}
	_, err := small.Bytes(0xfffff, 2)
	if want := "2 bytes at guest address 0xfffff are not within the 1 MiB of guest memory"; err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
}

// The model of Bytes is the definition: a range is good when its first and
// last byte and everything between them are RAM.
func TestBytesAgainstModel(t *testing.T) {
	m := open(t, 3<<30+8192)
	edges := []uint64{0, HoleStart, HoleEnd, HoleEnd + 8192, math.MaxUint64}
	rapid.Check(t, func(t *rapid.T) {
		gpa := rapid.SampledFrom(edges).Draw(t, "edge") + uint64(rapid.Int64Range(-64, 64).Draw(t, "delta"))
		n := rapid.OneOf(rapid.Uint64Range(1, 128), rapid.Uint64Min(math.MaxUint64-128)).Draw(t, "n")
		isRAM := func(a uint64) bool { return a < HoleStart || a >= HoleEnd && a < HoleEnd+8192 }
		want := n <= 128
		for a := uint64(0); want && a < n; a++ {
			want = isRAM(gpa+a) && gpa+a >= gpa
		}
		if _, err := m.Bytes(gpa, n); (err == nil) != want {
			t.Fatalf("Bytes(%#x, %d): error %v, want success %v", gpa, n, err, want)
		}
	})
}

func TestBytesDoesNotAllocate(t *testing.T) {
	m := open(t, 5<<30)
	var sink []byte
	if n := testing.AllocsPerRun(1000, func() { sink, _ = m.Bytes(HoleEnd+4096, 64) }); n != 0 {
		t.Errorf("Bytes allocates %v times per call", n)
	}
	_ = sink
}

func TestReadWrite(t *testing.T) {
	heap, err := NewHeap(64 << 10)
	if err != nil {
		t.Fatal(err)
	}
	for name, m := range map[string]*Memory{"mapping": open(t, 64<<10), "heap": heap} {
		want := []byte("interrupt")
		got := make([]byte, len(want))
		if err := m.WriteAt(want, 0x1ffc); err != nil {
			t.Fatal(err)
		}
		if err := m.ReadAt(got, 0x1ffc); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: read back %q, error %v", name, got, err)
		}
		if err := m.ReadAt(got, 0x1ffd); err != nil || string(got) != "nterrupt\x00" {
			t.Errorf("%s: read at the next address %q, error %v", name, got, err)
		}
	}
}

func TestZero(t *testing.T) {
	const size = 8 << 20
	heap, err := NewHeap(size)
	if err != nil {
		t.Fatal(err)
	}
	for name, m := range map[string]*Memory{"mapping": open(t, size), "heap": heap} {
		for _, c := range []struct{ gpa, n uint64 }{
			{0, size}, {1, 100}, {1000, size - 2000}, {2 << 20, 2 << 20}, {2<<20 - 1, 2<<20 + 2}, {3 << 20, 1 << 20}, {5, 0},
		} {
			all, _ := m.Bytes(0, size)
			for i := range all {
				all[i] = 0xff
			}
			if err := m.Zero(c.gpa, c.n); err != nil {
				t.Fatal(err)
			}
			if got := bytes.Count(all, []byte{0}); uint64(got) != c.n {
				t.Errorf("%s: Zero(%#x, %#x) cleared %#x bytes", name, c.gpa, c.n, got)
			}
			if b := all[c.gpa : c.gpa+c.n]; len(bytes.Trim(b, "\x00")) != 0 {
				t.Errorf("%s: Zero(%#x, %#x) left something", name, c.gpa, c.n)
			}
		}
		if err := m.Zero(size-1, 2); err == nil {
			t.Errorf("%s: Zero beyond RAM succeeded", name)
		}
	}
}

func TestResidentBytes(t *testing.T) {
	m, other := open(t, 64<<30), open(t, 64<<20)
	resident := func() uint64 {
		t.Helper()
		n, err := m.ResidentBytes()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := resident(); n != 0 {
		t.Errorf("fresh memory has %d resident bytes", n)
	}
	if err := m.Zero(0, 3<<30); err != nil {
		t.Fatal(err)
	}
	if n := resident(); n != 0 {
		t.Errorf("clearing fresh memory made %d bytes resident", n)
	}
	// Another guest's memory does not count; one touched byte costs a page or
	// a huge page.
	b, _ := other.Bytes(0, 64<<20)
	for i := range b {
		b[i] = 1
	}
	for _, gpa := range []uint64{0, 32 << 20, 40 << 30} {
		if err := m.WriteAt([]byte{1}, gpa); err != nil {
			t.Fatal(err)
		}
	}
	if n := resident(); n < 3*pageSize || n > 3*hugePageSize {
		t.Errorf("three touched pages made %d bytes resident", n)
	}
	heap, err := NewHeap(4096)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := heap.ResidentBytes(); err == nil {
		t.Error("heap memory claims a resident size")
	}
}

func TestSumRss(t *testing.T) {
	const smaps = `00400000-00500000 r-xp 00000000 fe:00 1 /bin/x y
Size:               1024 kB
Rss:                 900 kB
VmFlags: rd ex mr mw me
7f0000200000-7f0000400000 rw-p 00000000 00:00 0
Rss:                  12 kB
7f0000400000-7f0000600000 rw-p 00000000 00:00 0
Rss:                   4 kB
7f0000600000-7f0000601000 ---p 00000000 00:00 0
Rss:                  64 kB
`
	if n, err := sumRss(strings.NewReader(smaps), 0x7f0000200000, 0x7f0000600000); err != nil || n != 16<<10 {
		t.Errorf("sumRss = %d, %v; want 16384", n, err)
	}
	if _, err := sumRss(strings.NewReader(smaps), 0x7f0000800000, 0x7f0000a00000); err == nil {
		t.Error("a range without entries gave a figure")
	}
	bad := strings.Replace(smaps, "12 kB", "many kB", 1)
	if _, err := sumRss(strings.NewReader(bad), 0x7f0000200000, 0x7f0000600000); err == nil {
		t.Error("a malformed Rss line gave a figure")
	}
}

func TestClose(t *testing.T) {
	m, err := New(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := m.Bytes(0, 1); err == nil {
		t.Error("Bytes works after Close")
	}
}

func TestFormatSize(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0 B", 1023: "1023 B", 1024: "1 KiB", 1025: "2 KiB", 1<<20 - 1: "1 MiB", 1 << 20: "1 MiB",
		1<<20 + 1: "2 MiB", 64 << 30: "65536 MiB", math.MaxUint64: "17592186044416 MiB",
	} {
		if got := FormatSize(n); got != want {
			t.Errorf("FormatSize(%d) = %q, want %q", n, got, want)
		}
	}
}
