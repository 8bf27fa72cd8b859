package guest

import (
	"bytes"
	"encoding/binary"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"doorbell/guest/bootparam"
	"doorbell/guest/memory"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

var acpi = []Blob{
	{0xe0000, append([]byte("RSD PTR "), make([]byte, 28)...)},
	{0xe0040, append([]byte("XSDT"), make([]byte, 60)...)},
	{0xe1000, []byte{0x10, 0x20}},
}

var mmconfig = bootparam.E820Entry{Addr: 0xe0000000, Size: 256 << 20, Type: bootparam.E820Reserved}

func TestPlanGolden(t *testing.T) {
	golden, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	files(t, map[string][]byte{
		"vmlinux": vmlinux(0x1000000, 0x2345678),
		"vmlinuz": bzImage(vmlinux(0x1000000, 0x800000)),
		"bzip2":   bzImage([]byte("BZh91AY&SY")),
		"initrd":  bytes.Repeat([]byte("initrd"), 1000),
	})
	for _, c := range []struct {
		name string
		size uint64
		cfg  Config
	}{
		{"vmlinux-512M", 512 << 20, Config{Kernel: "vmlinux"}},
		{"bzimage-5G", 5 << 30, Config{
			Kernel: "vmlinuz", Initrd: "initrd", Cmdline: "console=ttyS0 panic=-1", ACPI: acpi, RSDP: 0xe0000,
			Reserved: []bootparam.E820Entry{mmconfig}, Seed: make([]byte, 32),
		}},
		{"fallback-64M", 64 << 20, Config{Kernel: "bzip2", Initrd: "initrd"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.cfg.Memory = newMemory(t, c.size)
			p, err := Build(c.cfg)
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			if n, err := p.WriteTo(&out); err != nil || int(n) != out.Len() {
				t.Fatalf("WriteTo = %d, %v", n, err)
			}
			file := filepath.Join(golden, c.name+".txt")
			if *update {
				if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), out.String()); d != "" {
				t.Errorf("plan (-want +got):\n%s", d)
			}
		})
	}
}

// What the kernel will find: every pointer of the zero page leads to the thing
// it stands for.
func TestZeroPagePointers(t *testing.T) {
	initrd := bytes.Repeat([]byte("rd"), 5000)
	files(t, map[string][]byte{"k": bzImage(vmlinux(0x1000000, 0x2000)), "i": initrd})
	m := newMemory(t, 64<<20)
	seed := []byte("0123456789abcdef0123456789abcdef")
	p, err := Build(Config{Memory: m, Kernel: "k", Initrd: "i", Cmdline: "quiet", ACPI: acpi, RSDP: 0xe0000, Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	read := func(gpa, n uint64) []byte {
		t.Helper()
		b, err := m.Bytes(gpa, n)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	zp := read(p.Entry.RSI, 4096)
	u32 := func(off int) uint64 { return uint64(binary.LittleEndian.Uint32(zp[off:])) }
	u64 := func(off int) uint64 { return binary.LittleEndian.Uint64(zp[off:]) }
	if string(zp[0x202:0x206]) != "HdrS" || u64(0x258) != 0x1000000 {
		t.Error("the setup header is not the image's")
	}
	if got := read(u32(0x228), 6); string(got) != "quiet\x00" {
		t.Errorf("command line %q", got)
	}
	if got := read(u32(0x218), u32(0x21c)); !bytes.Equal(got, initrd) {
		t.Errorf("initrd of %d bytes at %#x differs from the file", u32(0x21c), u32(0x218))
	}
	if got := read(u64(0x70), 8); string(got) != "RSD PTR " {
		t.Errorf("RSDP %q", got)
	}
	if got := read(u64(0x250), 48); !bytes.Equal(got, bootparam.RNGSeed(seed)) {
		t.Errorf("setup_data % x", got)
	}
	if n := zp[0x1e8]; n != 4 {
		t.Errorf("%d entries in the memory map", n)
	}
	if got := read(p.Entry.RIP, uint64(len(kernelText))); string(got) != kernelText {
		t.Errorf("at the entry point: %q", got)
	}
	for _, b := range acpi {
		if !bytes.Equal(read(b.GPA, uint64(len(b.Data))), b.Data) {
			t.Errorf("ACPI table at %#x differs", b.GPA)
		}
	}
}

// Building in used memory gives the same guest: that is a reset.
func TestBuildAgain(t *testing.T) {
	files(t, map[string][]byte{"k": vmlinux(0x1000000, 0x20000), "i": []byte("initrd")})
	m, err := memory.NewHeap(32 << 20)
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Memory: m, Kernel: "k", Initrd: "i", Cmdline: "x", ACPI: acpi, RSDP: 0xe0000}
	snapshot := func() map[string]string {
		p, err := Build(cfg)
		if err != nil {
			t.Fatal(err)
		}
		parts := map[string]string{"plan": p.String()}
		for _, r := range p.Ranges {
			if r.Name == "boot stack" {
				continue // nothing is read from it before it is written
			}
			b, err := m.Bytes(r.Start, r.End-r.Start)
			if err != nil {
				t.Fatal(err)
			}
			parts[r.Name] = string(b)
		}
		return parts
	}
	first := snapshot()
	all, _ := m.Bytes(0, m.Size())
	for i := range all {
		all[i] = 0xee
	}
	for name, b := range snapshot() {
		// The kernel's range ends on a page; what lies behind its last byte
		// is nobody's.
		if b = b[:min(len(b), 0x20000)]; b != first[name][:len(b)] {
			t.Errorf("%s differs in used memory", name)
		}
	}
}

func TestBuildRefuses(t *testing.T) {
	files(t, map[string][]byte{
		"k": vmlinux(0x1000000, 0x2000), "bz": bzImage(vmlinux(0x1000000, 0x2000)),
		"low": vmlinux(0x8000, 0x2000), "high": vmlinux(4<<30, 0x2000), "text": []byte("hello\n"),
		"i": make([]byte, 4096), "empty": nil, "big": make([]byte, 20<<20),
	})
	if err := os.Mkdir("dir", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"no kernel", Config{Kernel: "nosuch"}, "kernel nosuch: no such file or directory"},
		{"no kernel name", Config{}, "kernel : no such file or directory"},
		{"text", Config{Kernel: "text"}, `kernel text: text file (begins "hello"), not an x86-64 kernel`},
		{"linked too low", Config{Kernel: "low"}, "kernel low: is linked for 0x8000-0x9fff, which is not between 1 MiB and 4 GiB"},
		{"linked too high", Config{Kernel: "high"}, "kernel high: is linked for 0x100000000-0x100001fff, which is not between 1 MiB and 4 GiB"},
		{"no initrd", Config{Kernel: "k", Initrd: "nosuch"}, "initrd nosuch: no such file or directory"},
		{"initrd is a directory", Config{Kernel: "k", Initrd: "dir"}, "initrd dir: is a directory"},
		{"empty initrd", Config{Kernel: "k", Initrd: "empty"}, "initrd empty: the file is empty"},
		{"large initrd", Config{Kernel: "k", Initrd: "big", Memory: newMemory(t, 32<<20)}, "initrd big (20 MiB) does not fit in 32 MiB of guest memory"},
		{"small memory", Config{Kernel: "k", Memory: newMemory(t, 16<<20)}, "kernel k: segment of 8 KiB at 0x1000000 does not fit in 16 MiB of guest memory"},
		{"tiny memory", Config{Kernel: "k", Memory: newMemory(t, 4096)}, "kernel k: segment of 8 KiB at 0x1000000 does not fit in 4 KiB of guest memory"},
		{"long command line", Config{Kernel: "k", Cmdline: strings.Repeat("x", 2048)}, "command line of 2048 bytes is too long, the kernel reads 2047"},
		{"command line and header", Config{Kernel: "bz", Cmdline: strings.Repeat("x", 101)}, "command line of 101 bytes is too long, the kernel reads 100"},
		{"zero in command line", Config{Kernel: "k", Cmdline: "a\x00b"}, "command line contains a zero byte"},
		{"large seed", Config{Kernel: "k", Seed: make([]byte, 4096)}, "random seed of 4096 bytes, at most 4080 fit"},
		{"ACPI below its area", Config{Kernel: "k", ACPI: []Blob{{0x1000, []byte("DSDT")}}}, "ACPI DSDT of 4 bytes at 0x1000 lies outside the ACPI area 0xe0000-0xfffff"},
		{"ACPI above its area", Config{Kernel: "k", ACPI: []Blob{{0xfffff, []byte("ab")}}}, "ACPI table of 2 bytes at 0xfffff lies outside the ACPI area 0xe0000-0xfffff"},
		{"ACPI at a huge address", Config{Kernel: "k", ACPI: []Blob{{1<<64 - 1, []byte("ab")}}}, "ACPI table of 2 bytes at 0xffffffffffffffff lies outside the ACPI area 0xe0000-0xfffff"},
		{"ACPI tables overlap", Config{Kernel: "k", ACPI: []Blob{{0xe0000, make([]byte, 17)}, {0xe0010, []byte("XSDT")}}}, "guest memory: ACPI table at 0xe0000 overlaps ACPI XSDT at 0xe0010"},
		{"RSDP nowhere", Config{Kernel: "k", ACPI: acpi, RSDP: 0xe0020}, "ACPI: no table at the root pointer 0xe0020"},
		{"reserved RAM", Config{Kernel: "k", Reserved: []bootparam.E820Entry{{Addr: 0x200000, Size: 1, Type: bootparam.E820Reserved}}},
			"memory map: reserved at 0x200000 overlaps RAM at 0x100000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.cfg.Memory == nil {
				c.cfg.Memory = newMemory(t, 5<<30)
			}
			p, err := Build(c.cfg)
			if err == nil {
				t.Fatalf("built:\n%s", p)
			}
			if err.Error() != c.want {
				t.Errorf("error %q\nwant  %q", err, c.want)
			}
		})
	}
}
