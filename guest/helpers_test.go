package guest

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"doorbell/guest/memory"
)

const kernelText = "\xf4 the kernel's code"

// vmlinux is an ELF kernel of one segment: code at paddr and memsz bytes of
// memory.
func vmlinux(paddr, memsz uint64) []byte {
	le := binary.LittleEndian
	b := make([]byte, 0x1000)
	copy(b, "\x7fELF\x02\x01\x01")
	le.PutUint16(b[16:], 2)  // ET_EXEC
	le.PutUint16(b[18:], 62) // EM_X86_64
	le.PutUint64(b[24:], paddr)
	le.PutUint64(b[32:], 64)
	le.PutUint16(b[54:], 56)
	le.PutUint16(b[56:], 1)
	ph := b[64:]
	le.PutUint32(ph, 1) // PT_LOAD
	le.PutUint64(ph[8:], 0x1000)
	le.PutUint64(ph[24:], paddr)
	le.PutUint64(ph[32:], uint64(len(kernelText)))
	le.PutUint64(ph[40:], memsz)
	return append(b, kernelText...)
}

// bzImage wraps payload in a bzImage of boot protocol 2.15.
func bzImage(payload []byte) []byte {
	const code, payloadOffset = 2 * 512, 0x300
	le := binary.LittleEndian
	b := append(make([]byte, code+payloadOffset), payload...)
	b = append(b, make([]byte, -len(b)&15)...)
	b[0x1f1] = 1
	le.PutUint32(b[0x1f4:], uint32(len(b)-code)/16)
	le.PutUint16(b[0x1fe:], 0xaa55)
	copy(b[0x200:], "\xeb\x6aHdrS\x0f\x02")
	le.PutUint32(b[0x22c:], 0x7fffffff)
	le.PutUint16(b[0x236:], 1) // XLF_KERNEL_64
	le.PutUint32(b[0x238:], 100)
	le.PutUint32(b[0x248:], payloadOffset)
	le.PutUint32(b[0x24c:], uint32(len(payload)))
	le.PutUint64(b[0x258:], 0x1000000)
	le.PutUint32(b[0x260:], 0x400000)
	return b
}

// files puts files into a directory of their own and makes it the current one,
// so that messages and plans name them without a path.
func files(t *testing.T, contents map[string][]byte) {
	t.Helper()
	dir := t.TempDir()
	for name, b := range contents {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
}

func newMemory(t *testing.T, size uint64) *memory.Memory {
	t.Helper()
	m, err := memory.New(size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}
