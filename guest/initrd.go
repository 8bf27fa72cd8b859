package guest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"doorbell/guest/bootparam"
	"doorbell/guest/memory"
)

// initrdFile is an opened initial RAM disk.
type initrdFile struct {
	name string
	f    *os.File
	size uint64
}

func openInitrd(path string) (*initrdFile, error) {
	// Without O_NONBLOCK, opening a named pipe would wait for its writer.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, initrdError(path, err)
	}
	st, err := f.Stat()
	switch {
	case err != nil:
	case st.IsDir():
		err = errors.New("is a directory")
	case !st.Mode().IsRegular():
		err = errors.New("is not a regular file")
	case st.Size() == 0:
		err = errors.New("the file is empty")
	}
	if err != nil {
		_ = f.Close()
		return nil, initrdError(path, err)
	}
	return &initrdFile{path, f, uint64(st.Size())}, nil
}

// load reads the file straight into guest memory, above floor.
func (i *initrdFile) load(mem *memory.Memory, h bootparam.SetupHeader, floor uint64) (Range, error) {
	gpa, ok := bootparam.PlaceInitrd(h, mem.Regions(), floor, i.size)
	if !ok {
		return Range{}, fmt.Errorf("initrd %s (%s) does not fit in %s of guest memory",
			i.name, memory.FormatSize(i.size), memory.FormatSize(mem.Size()))
	}
	return i.loadAt(mem, gpa)
}

// loadAt reads the file into guest memory at an address.
func (i *initrdFile) loadAt(mem *memory.Memory, gpa uint64) (Range, error) {
	dst, err := mem.Bytes(gpa, i.size)
	if err != nil {
		return Range{}, initrdError(i.name, err)
	}
	n, err := i.f.ReadAt(dst, 0)
	if n < len(dst) {
		if err == io.EOF {
			err = fmt.Errorf("truncated to %d bytes while it was read: %w", n, io.ErrUnexpectedEOF)
		}
		return Range{}, initrdError(i.name, err)
	}
	return Range{gpa, gpa + i.size, "initrd " + i.name}, nil
}

func (i *initrdFile) close() { _ = i.f.Close() }

// initrdError names the file in an error instead of the system call.
func initrdError(name string, err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return fmt.Errorf("initrd %s: %w", name, err)
}
