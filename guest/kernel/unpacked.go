package kernel

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Unpacked writes the vmlinux in a kernel image to path, unless it is there
// already, whole or not at all: for QEMU, which enters a vmlinux without the guest
// having to unpack itself.
func Unpacked(image, path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if err := unpackTo(image, path); err != nil {
		return fmt.Errorf("unpacking the kernel: %w", err)
	}
	return nil
}

func unpackTo(image, path string) (err error) {
	im, err := Open(image)
	if err != nil {
		return err
	}
	defer func() { _ = im.Close() }()
	r, err := im.Vmlinux()
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = io.Copy(f, r)
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
