package lab

import (
	"bufio"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// image writes the tree as an initramfs into a memory file, which QEMU maps.
// It is not compressed: the emulated host would unpack slower than it copies.
func (p *plan) image() (*os.File, error) {
	fd, err := unix.MemfdCreate("lab-initramfs", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("lab: initramfs: memfd_create: %w", err)
	}
	f := os.NewFile(uintptr(fd), "lab-initramfs")
	w := bufio.NewWriterSize(f, 1<<20)
	err = p.tree.write(w)
	if err == nil {
		err = w.Flush()
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lab: initramfs: %w", err)
	}
	return f, nil
}
