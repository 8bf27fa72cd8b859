package images

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"doorbell/internal/deb/debtest"

	"github.com/ulikunitz/xz"
)

// privateCache gives the test a cache folder of its own.
func privateCache(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", dir)
	return filepath.Join(dir, "doorbell")
}

// koFile makes the smallest ELF file that has a section .modinfo.
func koFile(t testing.TB, fields ...string) string {
	t.Helper()
	modinfo := strings.Join(fields, "\x00") + "\x00"
	names := "\x00.modinfo\x00.shstrtab\x00"
	const headers = 64
	var b bytes.Buffer
	put := func(v any) {
		if err := binary.Write(&b, binary.LittleEndian, v); err != nil {
			t.Fatal(err)
		}
	}
	h := elf.Header64{
		Type: uint16(elf.ET_REL), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT),
		Shoff: uint64(headers + len(modinfo) + len(names)), Ehsize: headers, Shentsize: 64, Shnum: 3, Shstrndx: 2,
	}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_DATA], h.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)
	put(h)
	b.WriteString(modinfo + names)
	put(elf.Section64{})
	put(elf.Section64{Name: 1, Type: uint32(elf.SHT_PROGBITS), Off: headers, Size: uint64(len(modinfo)), Addralign: 1})
	put(elf.Section64{Name: 10, Type: uint32(elf.SHT_STRTAB), Off: uint64(headers + len(modinfo)), Size: uint64(len(names)), Addralign: 1})
	return b.String()
}

func compressXZ(t testing.TB, s string) string {
	t.Helper()
	var b bytes.Buffer
	w, err := xz.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(s)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

const testRelease = "6.99.0-1-cloud-amd64"

// kernelPackage is shaped like Debian's: modules below lib or, compressed,
// below usr/lib, and no modules.dep.
func kernelPackage(t testing.TB) debtest.Package {
	dir := "./lib/modules/" + testRelease + "/"
	return debtest.Package{
		Compression: ".xz",
		Control:     "Package: linux-image-" + testRelease + "\nVersion: 6.99.1-1\nArchitecture: amd64\nMaintainer: nobody\nDescription: test\n",
		Data: []debtest.File{
			debtest.Regular("./boot/System.map-"+testRelease, "no symbols"),
			debtest.Regular("./boot/config-"+testRelease, "CONFIG_KVM_GUEST=y\n"),
			debtest.Regular("./boot/vmlinuz-"+testRelease, "the kernel"),
			debtest.Regular(dir+"kernel/virt/lib/irqbypass.ko", koFile(t, "license=GPL", "depends=")),
			debtest.Regular(dir+"kernel/arch/x86/kvm/kvm.ko", koFile(t, "depends=irqbypass")),
			debtest.Regular(dir+"kernel/arch/x86/kvm/kvm-amd.ko", koFile(t, "alias=cpu:type:x86,*", "depends=kvm,ccp")),
			debtest.Regular("./usr"+dir[1:]+"kernel/drivers/virtio/virtio_pci.ko.xz", compressXZ(t, koFile(t, "alias=pci:v00001AF4d*", "depends=virtio-ring"))),
			debtest.Regular(dir+"kernel/drivers/virtio/virtio_ring.ko", koFile(t, "depends=")),
			debtest.Regular(dir+"kernel/drivers/net/virtio_net.ko", koFile(t, "alias=virtio:d00000001v*", "depends=virtio_ring")),
			debtest.Regular(dir+"kernel/drivers/char/virtio_console.ko", koFile(t, "alias=virtio:d00000003v*", "depends=virtio_ring")),
			debtest.Regular(dir+"kernel/drivers/misc/pvpanic/pvpanic-mmio.ko", koFile(t, "alias=acpi*:QEMU0001:*", "depends=")),
			debtest.Regular(dir+"kernel/fs/xfs/xfs.ko", koFile(t, "depends=")),
			debtest.Regular(dir+"modules.builtin", "kernel/drivers/crypto/ccp/ccp.ko\n"),
		},
	}
}

// cachePackage puts the package where a download would.
func cachePackage(t *testing.T, b []byte) string {
	t.Helper()
	dir, err := cachePath("packages")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "linux-image-"+testRelease+"_6.99.1-1_amd64.deb")
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func wantError(t *testing.T, err error, want ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", want)
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q has no %q", err, w)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("error %q has more than one line", err)
	}
}

// testKernel is the kernel of kernelPackage, unpacked.
func testKernel(t *testing.T) *KernelSet {
	t.Helper()
	cachePackage(t, kernelPackage(t).Build(t))
	k, err := Kernel(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return k
}
