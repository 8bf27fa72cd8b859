package kernel

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf8"
)

// machineName is how people call an ELF machine.
func machineName(m elf.Machine) string {
	switch m {
	case elf.EM_386:
		return "32-bit x86"
	case elf.EM_AARCH64:
		return "arm64 (AArch64)"
	case elf.EM_ARM:
		return "32-bit Arm"
	case elf.EM_RISCV:
		return "RISC-V"
	case elf.EM_PPC64:
		return "64-bit PowerPC"
	case elf.EM_S390:
		return "s390x"
	case elf.EM_LOONGARCH:
		return "LoongArch"
	case elf.EM_MIPS:
		return "MIPS"
	}
	if s, ok := strings.CutPrefix(m.String(), "EM_"); ok {
		return s
	}
	return fmt.Sprintf("machine %d", uint16(m))
}

func typeName(t elf.Type) string {
	switch t {
	case elf.ET_REL:
		return "relocatable object"
	case elf.ET_DYN:
		return "shared object or position-independent program"
	case elf.ET_CORE:
		return "core dump"
	}
	return fmt.Sprintf("of type %d", uint16(t))
}

// describe says what a file is that is no kernel for x86-64, as precisely as its
// first bytes allow.
func describe(head []byte) string {
	const no = ", not an x86-64 kernel"
	at := func(off int, magic string) bool {
		return len(head) >= off+len(magic) && string(head[off:off+len(magic)]) == magic
	}
	switch {
	case at(0x38, "ARM\x64"): // Documentation/arch/arm64/booting.rst
		return "arm64 (AArch64) Image" + no
	case at(0x38, "RSC\x05"): // Documentation/arch/riscv/boot-image-header.rst
		return "RISC-V Image" + no
	case at(0x24, "\x18\x28\x6f\x01"): // zImage of arch/arm
		return "32-bit Arm zImage" + no
	case at(0, "070701"), at(0, "070702"):
		return "cpio archive (an initramfs?)" + no
	case at(0, "\x27\x05\x19\x56"):
		return "U-Boot image" + no
	case at(0, "MZ"):
		return describePE(head)
	case looksLikeText(head):
		return fmt.Sprintf("text file (begins %q)%s", firstLine(head), no)
	}
	return fmt.Sprintf("neither a bzImage nor an ELF vmlinux (begins % x)", head[:min(len(head), 8)])
}

// describePE names the machine of an EFI program, which many kernels are too
// ("PE Format", COFF file header).
func describePE(head []byte) string {
	le := binary.LittleEndian
	machine := ""
	if len(head) >= 0x40 {
		if off := le.Uint32(head[0x3c:]); off <= headSize && len(head) >= int(off)+6 && string(head[off:off+4]) == "PE\x00\x00" {
			switch m := le.Uint16(head[off+4:]); m {
			case 0x8664:
				machine = " for x86-64"
			case 0xaa64:
				machine = " for arm64 (AArch64)"
			case 0x014c:
				machine = " for 32-bit x86"
			case 0x5064:
				machine = " for RISC-V"
			case 0x6264:
				machine = " for LoongArch"
			default:
				machine = fmt.Sprintf(" for machine %#x", m)
			}
		}
	}
	return "EFI program" + machine + " without a Linux setup header, not a bzImage"
}

// looksLikeText accepts UTF-8 without control characters; a rune that the end
// of head cuts off does not count against it.
func looksLikeText(head []byte) bool {
	head = head[:min(len(head), 512)]
	for len(head) > 0 {
		r, n := utf8.DecodeRune(head)
		if r == utf8.RuneError && n == 1 {
			return !utf8.FullRune(head)
		}
		if r < ' ' && r != '\n' && r != '\r' && r != '\t' {
			return false
		}
		head = head[n:]
	}
	return true
}

func firstLine(head []byte) string {
	line, _, _ := bytes.Cut(head[:min(len(head), 40)], []byte("\n"))
	return strings.TrimSpace(string(line))
}
