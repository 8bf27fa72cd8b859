package bootparam

import (
	"bytes"
	"encoding/binary"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"doorbell/guest/memory"
)

// The values are offsetof() and sizeof() over struct boot_params of
// asm/bootparam.h, as a C compiler computed them.
func TestOffsetsMatchHeader(t *testing.T) {
	for _, c := range []struct {
		name      string
		got, want int
	}{
		{"sizeof(struct boot_params)", PageSize, 4096},
		{"acpi_rsdp_addr", offACPIRSDPAddr, 112},
		{"ext_ramdisk_image", offExtRamdiskImage, 192},
		{"ext_ramdisk_size", offExtRamdiskSize, 196},
		{"ext_cmd_line_ptr", offExtCmdLinePtr, 200},
		{"e820_entries", offE820Entries, 488},
		{"hdr", HeaderOffset, 497},
		{"hdr.setup_sects", offSetupSects, 497},
		{"hdr.syssize", offSyssize, 500},
		{"hdr.vid_mode", offVidMode, 506},
		{"hdr.boot_flag", offBootFlag, 510},
		{"hdr.jump", offJump, 512},
		{"hdr.header", offHeader, 514},
		{"hdr.version", offVersion, 518},
		{"hdr.type_of_loader", offTypeOfLoader, 528},
		{"hdr.loadflags", offLoadflags, 529},
		{"hdr.ramdisk_image", offRamdiskImage, 536},
		{"hdr.ramdisk_size", offRamdiskSize, 540},
		{"hdr.heap_end_ptr", offHeapEndPtr, 548},
		{"hdr.ext_loader_ver", offExtLoaderVer, 550},
		{"hdr.ext_loader_type", offExtLoaderType, 551},
		{"hdr.cmd_line_ptr", offCmdLinePtr, 552},
		{"hdr.initrd_addr_max", offInitrdAddrMax, 556},
		{"hdr.kernel_alignment", offKernelAlignment, 560},
		{"hdr.xloadflags", offXloadflags, 566},
		{"hdr.cmdline_size", offCmdlineSize, 568},
		{"hdr.payload_offset", offPayloadOffset, 584},
		{"hdr.payload_length", offPayloadLength, 588},
		{"hdr.setup_data", offSetupData, 592},
		{"hdr.pref_address", offPrefAddress, 600},
		{"hdr.init_size", offInitSize, 608},
		{"edd_mbr_sig_buffer", headerLimit, 656},
		{"e820_table", offE820Table, 720},
		{"sizeof(struct boot_e820_entry)", e820EntrySize, 20},
		{"offsetof(struct setup_data, data)", setupDataHeader, 16},
	} {
		if c.got != c.want {
			t.Errorf("%s: %#x, want %#x", c.name, c.got, c.want)
		}
	}
}

// head builds the first 4 KiB of a bzImage with the fields given.
func head(version uint16, end byte, fields map[int]uint32) []byte {
	b := make([]byte, 4096)
	binary.LittleEndian.PutUint16(b[offBootFlag:], bootFlag)
	copy(b[offHeader:], signature)
	binary.LittleEndian.PutUint16(b[offVersion:], version)
	// In order: four bytes at a field of two reach into the next one.
	for _, off := range slices.Sorted(maps.Keys(fields)) {
		binary.LittleEndian.PutUint32(b[off:], fields[off])
	}
	b[offJump+1] = end
	return b
}

func TestSetupHeaderFields(t *testing.T) {
	h, ok := FindSetupHeader(head(0x20f, 0x6a, map[int]uint32{
		offSetupSects: 39, offSyssize: 0x1000, offXloadflags: 0x7f, offCmdlineSize: 2047,
		offPayloadOffset: 716, offPayloadLength: 1 << 20, offPrefAddress: 0x1000000, offInitSize: 0x3378000,
		offInitrdAddrMax: 0x7fffffff,
	}))
	if !ok {
		t.Fatal("no setup header found")
	}
	off, size := h.Payload()
	got := []uint64{
		uint64(h.Version()), h.CodeOffset(), h.CodeSize(), off, size, h.PrefAddress(), h.InitSize(),
		h.CmdlineSize(), h.InitrdAddrMax(), uint64(h.Xloadflags()), uint64(h.DeclaredEnd()), uint64(len(h)),
	}
	want := []uint64{
		0x20f, 40 * 512, 0x10000, 716, 1 << 20, 0x1000000, 0x3378000, 2047, 0x7fffffff, 0x7f, 0x26c, 0x26c - 0x1f1,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("fields (-want +got):\n%s", d)
	}
	if h.VersionString() != "2.15" {
		t.Errorf("version %q", h.VersionString())
	}
}

func TestSetupHeaderOldVersions(t *testing.T) {
	all := map[int]uint32{
		offXloadflags: 1, offCmdlineSize: 9999, offPayloadOffset: 1, offPayloadLength: 1,
		offPrefAddress: 1, offInitSize: 1, offInitrdAddrMax: 1,
	}
	h, _ := FindSetupHeader(head(0x202, 0xff, all))
	off, size := h.Payload()
	got := []uint64{off, size, h.PrefAddress(), h.InitSize(), uint64(h.Xloadflags()), h.CmdlineSize(), h.InitrdAddrMax()}
	if d := cmp.Diff([]uint64{0, 0, 0, 0, 0, 255, 0x37ffffff}, got); d != "" {
		t.Errorf("protocol 2.02 has fields of later versions (-want +got):\n%s", d)
	}
	if h.CodeOffset() != 5*512 {
		t.Errorf("zero setup_sects: code at %#x, want four sectors", h.CodeOffset())
	}
	if len(h) != headerLimit-HeaderOffset {
		t.Errorf("header of %d bytes reaches beyond its room in boot_params", len(h))
	}
}

func FuzzSetupHeader(f *testing.F) {
	f.Add(head(0x20f, 0x6a, nil))
	f.Add(head(0x20f, 0xff, nil)[:0x210])
	f.Add([]byte("MZ"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, ok := FindSetupHeader(b)
		if !ok {
			return
		}
		h.Payload()
		h.CodeSize()
		PlaceInitrd(h, []memory.Region{{Size: 1 << 20}}, 0, h.InitSize())
		p := Params{Header: h, CmdlineGPA: 0x20000}
		page, err := p.ZeroPage()
		if err != nil {
			t.Fatal(err)
		}
		if page[offTypeOfLoader] != 0xff || page[offE820Entries] != 0 {
			t.Error("the image's header overwrote what the loader says")
		}
	})
}

func TestZeroPage(t *testing.T) {
	image := head(0x20f, 0x6a, map[int]uint32{offKernelAlignment: 0x200000})
	image[offSetupData] = 0x77 // a loader must not pass on stale pointers
	image[offVidMode] = 1
	h, _ := FindSetupHeader(image)
	p := Params{
		Header: h, CmdlineGPA: 0x20000, InitrdGPA: 0x1_2345_6000, InitrdSize: 0x2_0000_0001,
		RSDP: 0xe0000, SetupData: 0xf000,
		E820: []E820Entry{{0, 0x9fc00, E820RAM}, {0x1_0000_0000, 0x4000_0000, E820RAM}},
	}
	page, err := p.ZeroPage()
	if err != nil {
		t.Fatal(err)
	}
	want := make([]byte, PageSize)
	copy(want[HeaderOffset:], h)
	for off, b := range map[int]string{
		0x070: "\x00\x00\x0e\x00\x00\x00\x00\x00",
		0x0c0: "\x01\x00\x00\x00" + "\x02\x00\x00\x00" + "\x00\x00\x00\x00",
		0x1e8: "\x02",
		0x1fa: "\xff\xff",
		0x210: "\xff\x01",
		0x218: "\x00\x60\x45\x23" + "\x01\x00\x00\x00",
		0x224: "\x00\x00\x00\x00" + "\x00\x00\x02\x00",
		0x250: "\x00\xf0\x00\x00\x00\x00\x00\x00",
		0x2d0: "\x00\x00\x00\x00\x00\x00\x00\x00" + "\x00\xfc\x09\x00\x00\x00\x00\x00" + "\x01\x00\x00\x00" +
			"\x00\x00\x00\x00\x01\x00\x00\x00" + "\x00\x00\x00\x40\x00\x00\x00\x00" + "\x01\x00\x00\x00",
	} {
		copy(want[off:], b)
	}
	if d := cmp.Diff(want, page[:]); d != "" {
		t.Errorf("zero page (-want +got):\n%s", d)
	}
}

func TestZeroPageWithoutHeader(t *testing.T) {
	p := Params{CmdlineGPA: 0x20000}
	page, err := p.ZeroPage()
	if err != nil {
		t.Fatal(err)
	}
	h, ok := FindSetupHeader(page[:])
	if !ok {
		t.Fatal("the synthesised zero page has no setup header")
	}
	if h.Version() != 0x20f || h.CmdlineSize() != 2047 || h.InitrdAddrMax() != 0x7fffffff ||
		h.Xloadflags() != XLFKernel64 || h.DeclaredEnd() != offInitSize+4 {
		t.Errorf("synthesised header %x", []byte(h))
	}
	if page[0x1ef] != 0 {
		t.Error("sentinel is set: the kernel would clear what it was told")
	}
}

func TestZeroPageTooManyRanges(t *testing.T) {
	p := Params{E820: make([]E820Entry, 129)}
	if _, err := p.ZeroPage(); err == nil || err.Error() != "memory map: 129 entries, the zero page holds 128" {
		t.Errorf("error %v", err)
	}
}

func regions(t testing.TB, size uint64) []memory.Region {
	t.Helper()
	m, err := memory.New(size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m.Regions()
}

func TestE820Map(t *testing.T) {
	low := []E820Entry{
		{0, 0x9fc00, E820RAM},
		{0x9fc00, 0x400, E820Reserved},
		{0xe0000, 0x20000, E820Reserved},
	}
	mmconfig := E820Entry{0xe0000000, 0x10000000, E820Reserved}
	for _, c := range []struct {
		size  uint64
		extra []E820Entry
		want  []E820Entry
	}{
		{512 << 20, nil, append(low[:3:3], E820Entry{0x100000, 511 << 20, E820RAM})},
		{64 << 30, []E820Entry{mmconfig}, append(low[:3:3],
			E820Entry{0x100000, 3<<30 - 0x100000, E820RAM}, mmconfig, E820Entry{4 << 30, 61 << 30, E820RAM})},
		{64 << 10, nil, []E820Entry{{0, 0x10000, E820RAM}, low[1], low[2]}},
	} {
		got, err := E820Map(regions(t, c.size), c.extra)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", memory.FormatSize(c.size), d)
		}
	}
}

func TestE820MapRefuses(t *testing.T) {
	for _, c := range []struct {
		extra E820Entry
		want  string
	}{
		{E820Entry{0x200000, 0x1000, E820Reserved}, "memory map: reserved at 0x200000 overlaps RAM at 0x100000"},
		{E820Entry{0xf0000, 0x1000, 3}, "memory map: type 3 at 0xf0000 overlaps reserved at 0xe0000"},
		{E820Entry{0xd0000, 0x20000, 7}, "memory map: reserved at 0xe0000 overlaps type 7 at 0xd0000"},
		{E820Entry{0xc0000000, 0, E820Reserved}, "memory map: range at 0xc0000000 has size 0x0"},
		{E820Entry{1 << 63, 1<<63 + 1, E820Reserved}, "memory map: range at 0x8000000000000000 has size 0x8000000000000001"},
	} {
		_, err := E820Map(regions(t, 64<<20), []E820Entry{c.extra})
		if err == nil || err.Error() != c.want {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
}

func TestPlaceInitrd(t *testing.T) {
	capped, _ := FindSetupHeader(head(0x20f, 0x6a, map[int]uint32{offInitrdAddrMax: 0x37ffffff}))
	for _, c := range []struct {
		name             string
		h                SetupHeader
		ram, floor, size uint64
		want             uint64
		room             bool
	}{
		{"end of RAM", nil, 512 << 20, 0x4000000, 0x1001, 0x1fffe000, true},
		{"initrd_addr_max", nil, 8 << 30, 0x4000000, 0x1000, 0x7ffff000, true},
		{"an old kernel's initrd_addr_max", capped, 8 << 30, 0x4000000, 0x1000, 0x37fff000, true},
		{"exactly behind the kernel", nil, 64 << 20, 0x3fff000, 0x1000, 0x3fff000, true},
		{"one byte too much", nil, 64 << 20, 0x3fff000, 0x1001, 0, false},
		{"larger than RAM", nil, 64 << 20, 0, 65 << 20, 0, false},
		{"huge", nil, 64 << 20, 0, 1<<64 - 1, 0, false},
		{"never below 1 MiB", nil, 1 << 20, 0, 0x1000, 0, false},
	} {
		got, ok := PlaceInitrd(c.h, regions(t, c.ram), c.floor, c.size)
		if ok != c.room || ok && got != c.want {
			t.Errorf("%s: %#x, room %v; want %#x, %v", c.name, got, ok, c.want, c.room)
		}
	}
	if _, ok := PlaceInitrd(nil, nil, 0, 1); ok {
		t.Error("an initrd was placed without RAM")
	}
}

// Wherever it goes, an initrd lies within low RAM, above the kernel, on a page
// boundary, and one page further up would not do.
func TestPlaceInitrdProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ram := []memory.Region{{Size: rapid.Uint64Range(1, 3<<18).Draw(t, "pages") << 12}}
		floor := rapid.Uint64Range(0, 4<<30).Draw(t, "floor")
		size := rapid.Uint64Range(1, 4<<30).Draw(t, "size")
		top := min(ram[0].Size, 0x80000000)
		gpa, ok := PlaceInitrd(nil, ram, floor, size)
		if ok && (gpa%4096 != 0 || gpa < floor || gpa < 1<<20 || gpa+size > top || gpa+4096+size <= top) {
			t.Fatalf("initrd of %#x bytes at %#x; kernel ends at %#x, RAM at %#x", size, gpa, floor, top)
		}
	})
}

func TestRNGSeed(t *testing.T) {
	got := RNGSeed([]byte("0123456789abcdef"))
	want := strings.Repeat("\x00", 8) + "\x09\x00\x00\x00" + "\x10\x00\x00\x00" + "0123456789abcdef"
	if !bytes.Equal(got, []byte(want)) {
		t.Errorf("setup_data %q", got)
	}
}
