package deb

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/xi2/xz"
)

// Limits bounds one package's data.
type Limits struct {
	// Bytes is how much data.tar may hold, headers included, once unpacked.
	Bytes int64
	// Entries is how many files, folders and links there may be.
	Entries int
}

// DefaultLimits is four times what the largest of Debian's kernel packages
// hold.
var DefaultLimits = Limits{Bytes: 2 << 30, Entries: 50_000}

// maxDictionary bounds the memory of the decompressors. It is what "xz -9" and
// "zstd -19", the most that dpkg-deb asks for, need at most.
const maxDictionary = 64 << 20

// An Entry is one file, folder or link of a package.
type Entry struct {
	// Name is relative to the root folder, clean and without "..":
	// "boot/vmlinuz-6.1.0".
	Name string
	Mode fs.FileMode
	Size int64
	// Target is what a symbolic or hard link points at, as it is stored.
	Target string
}

// Walk calls visit for each entry of the package's data in the order they are
// stored. content holds Size bytes and is valid until visit returns; what visit
// leaves unread is skipped. An error of visit ends the walk and is returned;
// fs.SkipAll ends it without one.
func Walk(r io.Reader, limits Limits, visit func(e Entry, content io.Reader) error) error {
	data, done, err := openData(r)
	if err != nil {
		return fmt.Errorf("deb: %w", oneLine(err))
	}
	defer done()
	bounded := &boundedReader{r: data, left: limits.Bytes, limit: limits.Bytes}
	tr := tar.NewReader(bounded)
	left := limits.Bytes
	for n := 0; ; n++ {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("deb: data.tar: %w", oneLine(err))
		}
		if n == limits.Entries {
			return fmt.Errorf("deb: data.tar has more than %d entries", limits.Entries)
		}
		// The holes of a sparse entry take no room in the archive: what
		// bounds the archive's size does not bound them.
		if left -= h.Size; left < 0 {
			return fmt.Errorf("deb: data.tar: %w", tooLarge(limits.Bytes))
		}
		name, err := cleanName(h.Name)
		if err != nil {
			return fmt.Errorf("deb: data.tar: %w", err)
		}
		e := Entry{Name: name, Mode: h.FileInfo().Mode(), Size: h.Size, Target: h.Linkname}
		switch err := visit(e, tr); {
		case errors.Is(err, fs.SkipAll):
			return nil
		case err != nil:
			return err
		}
	}
}

// openData goes to the member data.tar and returns it decompressed. done frees
// the decompressor.
func openData(r io.Reader) (data io.Reader, done func(), err error) {
	ar, err := newArReader(r)
	if err != nil {
		return nil, nil, err
	}
	if err := checkFormat(ar); err != nil {
		return nil, nil, err
	}
	for {
		name, _, err := ar.next()
		if errors.Is(err, io.EOF) {
			return nil, nil, errors.New("no data.tar in it")
		}
		if err != nil {
			return nil, nil, err
		}
		if compression, ok := strings.CutPrefix(name, "data.tar"); ok {
			data, done, err := decompress(compression, &ar.member)
			if err != nil {
				return nil, nil, fmt.Errorf("%s: %w", name, err)
			}
			return data, done, nil
		}
	}
}

// checkFormat reads the first member: the format's version, of which the
// minor part may grow.
func checkFormat(ar *arReader) error {
	const name, longest = "debian-binary", 64
	got, _, err := ar.next()
	if errors.Is(err, io.EOF) || err == nil && got != name {
		return fmt.Errorf("not a Debian package: its first member is not %s", name)
	}
	if err != nil {
		return err
	}
	version, err := io.ReadAll(io.LimitReader(&ar.member, longest))
	if err != nil {
		return err
	}
	if !strings.HasPrefix(string(version), "2.") {
		return fmt.Errorf("package format %.8q is not known (2.x is)", version)
	}
	return nil
}

func decompress(suffix string, r io.Reader) (io.Reader, func(), error) {
	nothing := func() {}
	switch suffix {
	case "":
		return r, nothing, nil
	case ".gz":
		z, err := gzip.NewReader(r)
		return z, nothing, err
	case ".xz":
		z, err := xz.NewReader(r, maxDictionary)
		return z, nothing, err
	case ".zst":
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderMaxWindow(maxDictionary), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	}
	return nil, nil, fmt.Errorf("compression %.16q is not known (xz, zst and gz are)", suffix)
}

// cleanName makes a stored name relative and refuses one that leaves the root.
func cleanName(name string) (string, error) {
	clean := path.Clean(strings.TrimLeft(name, "/"))
	if clean == ".." || strings.HasPrefix(clean, "../") || strings.ContainsRune(clean, 0) {
		return "", fmt.Errorf("name %.128q leaves the root folder", name)
	}
	return clean, nil
}

// boundedReader fails, rather than ends, after limit bytes.
type boundedReader struct {
	r           io.Reader
	left, limit int64
}

func (b *boundedReader) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, tooLarge(b.limit)
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.r.Read(p)
	b.left -= int64(n)
	return n, err
}

func tooLarge(limit int64) error {
	return fmt.Errorf("unpacks to more than %d bytes", limit)
}

// oneLine makes an error that quotes a stored name safe to print as a line.
func oneLine(err error) error {
	if strings.ContainsAny(err.Error(), "\n\r") {
		return errors.New(strings.Map(func(r rune) rune {
			if r == '\n' || r == '\r' {
				return ' '
			}
			return r
		}, err.Error()))
	}
	return err
}
