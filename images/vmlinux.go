package images

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"doorbell/guest/kernel"
)

// Vmlinux returns the path of the unpacked kernel, which is made and kept in
// the cache when it is first asked for. QEMU enters it without the guest having
// to unpack itself.
func (k *KernelSet) Vmlinux() (string, error) {
	path := filepath.Join(k.Dir, "vmlinux")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := writeVmlinux(k.Vmlinuz, path); err != nil {
		return "", fmt.Errorf("unpacking the kernel: %w", err)
	}
	return path, nil
}

// writeVmlinux writes the vmlinux in a bzImage to path, whole or not at all.
func writeVmlinux(image, path string) (err error) {
	im, err := kernel.Open(image)
	if err != nil {
		return err
	}
	defer im.Close()
	r, err := im.Vmlinux()
	if err != nil {
		return err
	}
	defer r.Close()
	f, err := os.CreateTemp(filepath.Dir(path), temporary+"*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	_, err = io.Copy(f, r)
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
