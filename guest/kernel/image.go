package kernel

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"syscall"

	"doorbell/guest/bootparam"
	"doorbell/guest/memory"
)

// headSize is how much of a file is read to recognise it.
const headSize = 4096

// Image is a kernel file that was recognised. It stays open, so that the same
// kernel can be loaded again when the guest is reset.
type Image struct {
	name  string // as the user wrote it, for messages
	file  io.ReaderAt
	size  uint64
	close func() error
	codec codec // of the whole file; codecELF for a plain vmlinux

	// Of a bzImage, else nil.
	setup bootparam.SetupHeader
}

// Loaded tells where a kernel lies in guest memory and how to enter it.
type Loaded struct {
	Entry  uint64 // physical address of the 64-bit entry point
	Start  uint64 // lowest guest address that the kernel occupies
	End    uint64 // first page-aligned guest address behind it, BSS included
	Format string // what was loaded, for people

	// Fallback says why the bzImage's own entry point is used; it is empty
	// when the vmlinux was loaded.
	Fallback string

	// SetupHeader is the bzImage's; nil when there is none.
	SetupHeader bootparam.SetupHeader
}

// Open recognises the kernel in a file. The caller closes the Image.
func Open(path string) (*Image, error) {
	// Without O_NONBLOCK, opening a named pipe would wait for its writer.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fail(path, err)
	}
	im, err := open(path, f)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	im.close = f.Close
	return im, nil
}

func open(path string, f *os.File) (*Image, error) {
	st, err := f.Stat()
	switch {
	case err != nil:
		return nil, fail(path, err)
	case st.IsDir():
		return nil, fail(path, errors.New("is a directory"))
	case !st.Mode().IsRegular():
		return nil, fail(path, errors.New("is not a regular file"))
	}
	return New(path, f, st.Size())
}

// New recognises the kernel in the first size bytes of file; name stands for it
// in messages.
func New(name string, file io.ReaderAt, size int64) (*Image, error) {
	im := &Image{name: name, file: file, size: uint64(max(size, 0)), close: func() error { return nil }}
	if err := im.recognise(); err != nil {
		return nil, fail(name, err)
	}
	return im, nil
}

// Close closes the file.
func (im *Image) Close() error {
	if err := im.close(); err != nil {
		return fail(im.name, err)
	}
	return nil
}

// SetupHeader is the bzImage's setup header, nil for any other kernel.
func (im *Image) SetupHeader() bootparam.SetupHeader { return im.setup }

func (im *Image) recognise() error {
	if im.size == 0 {
		return errors.New("the file is empty")
	}
	head := make([]byte, min(im.size, headSize))
	if err := readFull(im.file, head, 0); err != nil {
		return err
	}
	if setup, ok := bootparam.FindSetupHeader(head); ok {
		im.codec, im.setup = codecNone, setup
		return checkBzImage(setup, im.size)
	}
	im.codec = detect(head)
	switch {
	case im.codec == codecELF:
		_, err := parseELF(&fileSource{im.file, im.size})
		return err
	case im.codec.supported():
		return nil
	case im.codec != codecNone:
		return fmt.Errorf("%s compression is not supported; gzip, xz, zstd and LZ4 (legacy frame) are", im.codec)
	}
	return errors.New(describe(head))
}

// Load places the kernel in guest memory. When it fails, the contents of guest
// memory are undefined. It may be called any number of times, also on memory
// that a guest has used before.
func (im *Image) Load(mem *memory.Memory) (Loaded, error) {
	var l Loaded
	var err error
	switch {
	case im.setup != nil:
		l, err = im.loadBzImage(mem)
	case im.codec == codecELF:
		l, err = loadELF(mem, &fileSource{im.file, im.size})
		l.Format = "vmlinux"
	default:
		l, _, err = unpack(mem, im.codec, im.file, 0, im.size)
		l.Format = fmt.Sprintf("vmlinux (%s)", im.codec)
	}
	if err != nil {
		return Loaded{}, fail(im.name, err)
	}
	return l, nil
}

// fail names the file in an error. The path and operation that os adds would
// only repeat it.
func fail(name string, err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return fmt.Errorf("kernel %s: %w", name, err)
}

// readFull reads len(p) bytes at off. A file that ends early is reported with
// the offset of its end.
func readFull(file io.ReaderAt, p []byte, off uint64) error {
	if off > math.MaxInt64 {
		return fmt.Errorf("truncated: nothing at offset %#x", off)
	}
	n, err := file.ReadAt(p, int64(off))
	switch {
	case n == len(p):
		return nil
	case err == nil || errors.Is(err, io.EOF):
		return fmt.Errorf("truncated at offset %#x: %w", off+uint64(n), io.ErrUnexpectedEOF)
	}
	return err
}
