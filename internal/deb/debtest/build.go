// Package debtest makes small Debian packages for tests.
package debtest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// A Package is what to put into a .deb.
type Package struct {
	// Control is the control file, from which a repository's index is made.
	Control string
	// Compression is the suffix of both tar archives: "", ".gz", ".xz", ".zst".
	Compression string
	// Data are the entries in order; Size is set from Content.
	Data []File
}

// A File is one entry. Header's Typeflag 0 stands for a regular file.
type File struct {
	Header  tar.Header
	Content string
}

// Regular is a file with the usual permissions.
func Regular(name, content string) File {
	return File{Header: tar.Header{Name: name, Mode: 0o644}, Content: content}
}

// Build returns the package's bytes.
func (p Package) Build(t testing.TB) []byte {
	t.Helper()
	control := p.compress(t, tarball(t, []File{Regular("./control", p.Control)}))
	data := p.compress(t, tarball(t, p.Data))
	return Ar(
		Member{"debian-binary", []byte("2.0\n")},
		Member{"control.tar" + p.Compression, control},
		Member{"data.tar" + p.Compression, data},
	)
}

// A Member is one file of an ar archive.
type Member struct {
	Name    string
	Content []byte
}

// Ar returns an archive of the members, as dpkg-deb writes it.
func Ar(members ...Member) []byte {
	out := []byte("!<arch>\n")
	for _, m := range members {
		out = fmt.Appendf(out, "%-16s%-12d%-6d%-6d%-8o%-10d`\n", m.Name, 0, 0, 0, 0o100644, len(m.Content))
		out = append(out, m.Content...)
		if len(m.Content)%2 != 0 {
			out = append(out, '\n')
		}
	}
	return out
}

func tarball(t testing.TB, files []File) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range files {
		h := f.Header
		h.Size = int64(len(f.Content))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, f.Content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func (p Package) compress(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	var err error
	switch p.Compression {
	case "":
		return b
	case ".gz":
		w = gzip.NewWriter(&out)
	case ".xz":
		w, err = xz.NewWriter(&out)
	case ".zst":
		w, err = zstd.NewWriter(&out)
	default:
		t.Fatalf("debtest: compression %q", p.Compression)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
