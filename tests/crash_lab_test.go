//go:build lab

package tests

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
)

// kernel writes an ELF vmlinux of a few instructions, linked for 1 MiB.
func kernel(t testing.TB, code ...byte) string {
	t.Helper()
	const at, headers = 0x100000, 64 + 56
	var b bytes.Buffer
	h := elf.Header64{
		Ident: [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT),
		Entry: at, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1,
	}
	p := elf.Prog64{
		Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Off: headers, Vaddr: at, Paddr: at,
		Filesz: uint64(len(code)), Memsz: uint64(len(code)), Align: 1,
	}
	binary.Write(&b, binary.LittleEndian, h)
	binary.Write(&b, binary.LittleEndian, p)
	b.Write(code)
	path := filepath.Join(t.TempDir(), "vmlinux")
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

const quiet = "console=ttyS0 quiet panic=-1 "

// TestCrashes: a guest that cannot go on ends with status 3, a reason, and the instruction where there is one.
func TestCrashes(t *testing.T) {
	for _, c := range []struct {
		name  string
		args  []string
		parts []string
	}{
		{"triple fault", []string{"-k", kernel(t, 0x0f, 0x0b), "-i", "none"}, []string{"triple fault"}}, // ud2
		// mov eax, 0xc0000000; fxsave [rax]: KVM must emulate it, because no memory is there, and cannot.
		{"not emulated", []string{"-k", kernel(t, 0xb8, 0, 0, 0, 0xc0, 0x0f, 0xae, 0x00), "-i", "none"}, []string{"0x100005", "fxsave"}},
		{"panic and reset", []string{"-p", quiet + "doorbell.end=panic"}, []string{"kernel panicked", "sysrq"}},
		{"panic for ever", []string{"-p", "console=ttyS0 quiet panic=0 doorbell.end=panic"}, []string{"kernel panicked"}},
		{"no init", []string{"-i", "none", "-p", quiet + "root=/dev/nothing"}, []string{"kernel panicked", "VFS"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, d := boot(t, "", c.args...)
			o.want(t, 3, o.stderr, c.parts...)
			if d.VM.End != "crashed" {
				t.Errorf("the report says %s: %s", d.VM.End, d.VM.EndReason)
			}
			balance(t, d)
		})
	}
}

// TestReset: a guest that restarts itself ends the run as one that powers off does.
func TestReset(t *testing.T) {
	guestTest(t, func(t testing.TB) {
		o, d := boot(t, "", "-p", quiet+"doorbell.end=reboot")
		o.want(t, 0, o.stderr, "reset by")
		if d.VM.End != "reset" {
			t.Errorf("the report says %s", d.VM.End)
		}
	})
}

// TestPoke: reads and writes where nothing is are what they are on hardware, and are in the account.
func TestPoke(t *testing.T) {
	guestTest(t, func(t testing.TB) {
		o, d := boot(t, "", "-i", guestInitramfs(t), "-p", quiet+"iomem=relaxed test.role=poke")
		o.want(t, 0, o.stdout, "0xc0000000 is 0xff", "0xfeb00000 is 0xff", "0xd0000000 is 0x0", "guest: done")
		reads := 0
		for _, r := range d.VM.UserspaceExits {
			if r.Device == "unclaimed" && r.Register == "mmio 0xc0000000" {
				reads += int(r.Count)
			}
		}
		if reads != 2 {
			t.Errorf("%d accesses to 0xc0000000 in the account, want a read and a write", reads)
		}
	})
}
