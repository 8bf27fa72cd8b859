package cpio

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
)

// parentMode is the mode of folders that are made because an entry below them
// was written first.
const parentMode = fs.FileMode(0o755)

// A Writer writes one archive. Names are paths from the root folder, with or
// without a leading slash; the folders above an entry are written before it
// when they have not been written yet. The first error stays: every later call
// returns it, so a caller may check the error of Close alone.
type Writer struct {
	w       io.Writer
	written int64
	ino     uint32
	entries map[string]fs.FileMode // what has been written, with type and permissions
	buf     []byte
	err     error
}

// NewWriter returns a Writer that writes an archive to w. It makes one small
// write per entry: give it a buffered writer when w is a file.
func NewWriter(w io.Writer) *Writer {
	return &Writer{w: w, entries: map[string]fs.FileMode{}}
}

// Dir adds a folder. Adding it again with the same permissions does nothing;
// with others it is an error, because the folder is in the archive already.
func (w *Writer) Dir(name string, mode fs.FileMode) error {
	mode = mode&^fs.ModeType | fs.ModeDir
	if clean, err := cleanName(name); err == nil && w.err == nil {
		if have, ok := w.entries[clean]; ok && have == mode {
			return nil
		}
	}
	_, err := w.entry(name, mode, header{mode: typeDir | permissions(mode), links: 2})
	return err
}

// File adds a regular file of size bytes that are read from r. It is an error
// when r ends early; what r holds beyond size is left unread.
func (w *Writer) File(name string, mode fs.FileMode, size int64, r io.Reader) error {
	if w.err == nil && (size < 0 || size > maxFile) {
		return w.fail(name, fmt.Errorf("size %d does not fit the format (at most %d)", size, int64(maxFile)))
	}
	clean, err := w.entry(name, mode&^fs.ModeType, header{mode: typeRegular | permissions(mode), links: 1, size: uint32(size)})
	if err != nil {
		return err
	}
	n, err := io.CopyN(w.w, r, size)
	w.written += n
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("content ends after %d of %d bytes: %w", n, size, io.ErrUnexpectedEOF)
	}
	if err != nil {
		return w.fail(clean, err)
	}
	return w.pad(clean, 4)
}

// Symlink adds a symbolic link to target, which is stored as it is.
func (w *Writer) Symlink(name, target string) error {
	if w.err == nil && (target == "" || len(target) >= maxName || strings.ContainsRune(target, 0)) {
		return w.fail(name, fmt.Errorf("link target %.64q is empty, too long or has a NUL in it", target))
	}
	clean, err := w.entry(name, fs.ModeSymlink|0o777, header{mode: typeSymlink | 0o777, links: 1, size: uint32(len(target))})
	if err != nil {
		return err
	}
	if err := w.write(clean, []byte(target)); err != nil {
		return err
	}
	return w.pad(clean, 4)
}

// Device adds a device node: a character device when mode has
// fs.ModeCharDevice set, otherwise a block device.
func (w *Writer) Device(name string, mode fs.FileMode, major, minor uint32) error {
	kind, keep := uint32(typeBlock), fs.ModeDevice
	if mode&fs.ModeCharDevice != 0 {
		kind, keep = typeChar, fs.ModeDevice|fs.ModeCharDevice
	}
	_, err := w.entry(name, mode&^fs.ModeType|keep,
		header{mode: kind | permissions(mode), links: 1, major: major, minor: minor})
	return err
}

// Close ends the archive. It does not close the underlying writer.
func (w *Writer) Close() error {
	if w.err != nil {
		return w.err
	}
	w.buf = header{links: 1}.append(w.buf[:0], trailer)
	if err := w.write(trailer, w.buf); err != nil {
		return err
	}
	if err := w.pad(trailer, blockSize); err != nil {
		return err
	}
	w.err = errors.New("cpio: archive is closed")
	return nil
}

// entry writes the folders above name and name's own header, and returns the
// name as it is stored.
func (w *Writer) entry(name string, mode fs.FileMode, h header) (string, error) {
	if w.err != nil {
		return "", w.err
	}
	clean, err := cleanName(name)
	if err != nil {
		return "", w.fail(name, err)
	}
	if _, ok := w.entries[clean]; ok {
		return "", w.fail(clean, errors.New("is in the archive already"))
	}
	if parent := path.Dir(clean); parent != "." {
		have, ok := w.entries[parent]
		switch {
		case !ok:
			if err := w.Dir(parent, parentMode); err != nil {
				return "", err
			}
		case !have.IsDir():
			return "", w.fail(clean, fmt.Errorf("%s is not a folder", parent))
		}
	}
	w.entries[clean] = mode
	w.ino++
	h.ino = w.ino
	w.buf = h.append(w.buf[:0], clean)
	return clean, w.write(clean, w.buf)
}

func (w *Writer) write(name string, b []byte) error {
	n, err := w.w.Write(b)
	w.written += int64(n)
	if err != nil {
		return w.fail(name, err)
	}
	return nil
}

// pad writes zeros up to the next multiple of align.
func (w *Writer) pad(name string, align int64) error {
	var zeros [blockSize]byte
	return w.write(name, zeros[:(align-w.written%align)%align])
}

func (w *Writer) fail(name string, err error) error {
	if w.err == nil {
		w.err = fmt.Errorf("cpio: %s: %w", name, err)
	}
	return w.err
}

// cleanName gives name the form it is stored in: no leading slash, no empty,
// "." or ".." element, so that nothing lands outside of the root folder.
func cleanName(name string) (string, error) {
	for _, element := range strings.Split(name, "/") {
		if element == ".." {
			return "", errors.New(`name has a ".." in it`)
		}
	}
	clean := strings.TrimPrefix(path.Clean("/"+name), "/")
	switch {
	case clean == "":
		return "", errors.New("name is empty")
	case clean == trailer:
		return "", errors.New("name is the format's end mark")
	case len(clean) >= maxName:
		return "", fmt.Errorf("name has %d bytes, the kernel takes %d", len(clean), maxName-1)
	case strings.ContainsRune(clean, 0):
		return "", errors.New("name has a NUL in it")
	}
	return clean, nil
}

// permissions turns the part of mode that is not the type into stat(2) bits.
func permissions(mode fs.FileMode) uint32 {
	bits := uint32(mode.Perm())
	if mode&fs.ModeSetuid != 0 {
		bits |= 0o4000
	}
	if mode&fs.ModeSetgid != 0 {
		bits |= 0o2000
	}
	if mode&fs.ModeSticky != 0 {
		bits |= 0o1000
	}
	return bits
}
