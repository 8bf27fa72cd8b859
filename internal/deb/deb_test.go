package deb_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"doorbell/internal/deb"
	"doorbell/internal/deb/debtest"

	"github.com/google/go-cmp/cmp"
)

func sample(compression string) debtest.Package {
	return debtest.Package{Compression: compression, Data: []debtest.File{
		{Header: tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755}},
		{Header: tar.Header{Name: "./boot/", Typeflag: tar.TypeDir, Mode: 0o755}},
		debtest.Regular("./boot/vmlinuz-6.1", strings.Repeat("kernel ", 999)),
		debtest.Regular("./lib/modules/6.1/kernel/net/tun.ko", "tun"),
		{Header: tar.Header{Name: "./lib/link", Linkname: "/etc", Typeflag: tar.TypeSymlink}},
		{Header: tar.Header{Name: "./lib/run", Mode: 0o755}, Content: "#!"},
	}}
}

func TestWalk(t *testing.T) {
	for _, compression := range []string{"", ".gz", ".xz", ".zst"} {
		t.Run("data.tar"+compression, func(t *testing.T) {
			var names []string
			var kernel string
			err := deb.Walk(bytes.NewReader(sample(compression).Build(t)), deb.DefaultLimits, func(e deb.Entry, content io.Reader) error {
				names = append(names, e.Name)
				if e.Name == "boot/vmlinuz-6.1" {
					b, err := io.ReadAll(content)
					kernel = string(b)
					return err
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			want := []string{".", "boot", "boot/vmlinuz-6.1", "lib/modules/6.1/kernel/net/tun.ko", "lib/link", "lib/run"}
			if diff := cmp.Diff(want, names); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if kernel != strings.Repeat("kernel ", 999) {
				t.Errorf("kernel has %d bytes of other content", len(kernel))
			}
		})
	}
}

func TestWalkStops(t *testing.T) {
	b := sample(".gz").Build(t)
	count := 0
	err := deb.Walk(bytes.NewReader(b), deb.DefaultLimits, func(deb.Entry, io.Reader) error {
		count++
		return fs.SkipAll
	})
	if err != nil || count != 1 {
		t.Errorf("SkipAll: error %v after %d entries", err, count)
	}
	mine := errors.New("mine")
	err = deb.Walk(bytes.NewReader(b), deb.DefaultLimits, func(deb.Entry, io.Reader) error { return mine })
	if !errors.Is(err, mine) {
		t.Errorf("error %v, want the visitor's own", err)
	}
}

func TestErrors(t *testing.T) {
	good := sample(".xz").Build(t)
	version := debtest.Member{Name: "debian-binary", Content: []byte("2.0\n")}
	tests := []struct {
		name, want string
		deb        []byte
		limits     deb.Limits
	}{
		{name: "empty", want: "not a Debian package"},
		{name: "other file", deb: []byte("\x7fELF and more"), want: "not a Debian package"},
		{name: "ar of something else", deb: debtest.Ar(debtest.Member{Name: "a.o"}), want: "first member is not debian-binary"},
		{name: "nothing but a magic", deb: debtest.Ar(), want: "first member is not debian-binary"},
		{name: "future format", deb: debtest.Ar(debtest.Member{Name: "debian-binary", Content: []byte("3.0\n")}), want: `format "3.0\n" is not known`},
		{name: "no data", deb: debtest.Ar(version), want: "no data.tar"},
		{name: "unknown compression", deb: debtest.Ar(version, debtest.Member{Name: "data.tar.lzma"}), want: `compression ".lzma" is not known`},
		{name: "not xz", deb: debtest.Ar(version, debtest.Member{Name: "data.tar.xz", Content: []byte("text, no more")}), want: "data.tar.xz: xz"},
		{name: "truncated header", deb: good[:40], want: "truncated at offset 0x28"},
		{name: "truncated data", deb: good[:len(good)-200], want: "data.tar"},
		{name: "bad header", deb: append([]byte("!<arch>\n"), bytes.Repeat([]byte("x"), 60)...), want: "bad ar member header at offset 0x8"},
		{name: "too large", deb: good, limits: deb.Limits{Bytes: 4096, Entries: 9}, want: "more than 4096 bytes"},
		{name: "too many", deb: good, limits: deb.Limits{Bytes: 1 << 20, Entries: 2}, want: "more than 2 entries"},
		{name: "name leaves the root", deb: debtest.Package{Data: []debtest.File{debtest.Regular("../../etc/passwd", "x")}}.Build(t), want: "leaves the root folder"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.limits == (deb.Limits{}) {
				tt.limits = deb.DefaultLimits
			}
			err := deb.Walk(bytes.NewReader(tt.deb), tt.limits, func(e deb.Entry, content io.Reader) error { return nil })
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want one with %q", err, tt.want)
			}
			if !strings.HasPrefix(err.Error(), "deb: ") || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %q: want one line that starts with deb:", err)
			}
		})
	}
}

func TestExtract(t *testing.T) {
	dir := t.TempDir()
	err := deb.Extract(bytes.NewReader(sample(".zst").Build(t)), dir, deb.DefaultLimits, func(e deb.Entry) (string, bool) {
		switch e.Name {
		case "lib/modules/6.1/kernel/net/tun.ko":
			return "modules/tun.ko", true
		case "lib/run":
			return "run", true
		}
		return "", false
	})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "modules/tun.ko")); err != nil || string(b) != "tun" {
		t.Errorf("tun.ko is %q, %v", b, err)
	}
	if st, err := os.Stat(filepath.Join(dir, "run")); err != nil || st.Mode().Perm()&0o111 == 0 {
		t.Errorf("run lost its permissions: %v, %v", st, err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 2 {
		t.Errorf("%d entries in the folder, want modules and run alone", len(entries))
	}
}

// Neither a destination nor a link that is there already leads outside.
func TestExtractStaysInside(t *testing.T) {
	b := debtest.Package{Data: []debtest.File{debtest.Regular("a/file", "x")}}.Build(t)
	outside := t.TempDir()
	dir := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, "a")); err != nil {
		t.Fatal(err)
	}
	for _, dest := range []string{"a/file", "../file", "/file"} {
		err := deb.Extract(bytes.NewReader(b), dir, deb.DefaultLimits, func(deb.Entry) (string, bool) { return dest, true })
		if err == nil || !strings.Contains(err.Error(), `extract "a/file"`) {
			t.Errorf("to %s: error %v, want a refusal", dest, err)
		}
	}
	if entries, _ := os.ReadDir(outside); len(entries) != 0 {
		t.Errorf("%v was written outside", entries)
	}
}

func FuzzWalk(f *testing.F) {
	for _, compression := range []string{"", ".gz", ".xz", ".zst"} {
		f.Add(sample(compression).Build(f))
	}
	f.Add(debtest.Ar(debtest.Member{Name: "debian-binary", Content: []byte("2.0\n")}))
	limits := deb.Limits{Bytes: 1 << 20, Entries: 100}
	f.Fuzz(func(t *testing.T, b []byte) {
		var total int64
		err := deb.Walk(bytes.NewReader(b), limits, func(e deb.Entry, content io.Reader) error {
			if !fs.ValidPath(e.Name) && e.Name != "." && strings.HasPrefix(e.Name, "..") {
				t.Errorf("name %q", e.Name)
			}
			n, err := io.Copy(io.Discard, content)
			total += n
			return err
		})
		if total > limits.Bytes {
			t.Errorf("%d bytes came out of a package that may hold %d", total, limits.Bytes)
		}
		if err != nil && strings.ContainsAny(err.Error(), "\n\r") {
			t.Errorf("error has more than one line: %q", err)
		}
	})
}

func TestExtractLinked(t *testing.T) {
	dir := t.TempDir()
	p := debtest.Package{Data: []debtest.File{
		debtest.Regular("./lib/a.so.1", "library"),
		{Header: tar.Header{Name: "./lib/a.so", Linkname: "a.so.1", Typeflag: tar.TypeSymlink}},
		{Header: tar.Header{Name: "./lib/hard", Linkname: "./lib/a.so.1", Typeflag: tar.TypeLink}},
		{Header: tar.Header{Name: "./out", Linkname: "/", Typeflag: tar.TypeSymlink}},
	}}
	all := func(e deb.Entry) (string, bool) { return e.Name, true }
	if err := deb.ExtractLinked(bytes.NewReader(p.Build(t)), dir, deb.DefaultLimits, all); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "lib/a.so")); err != nil || string(b) != "library" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "lib/hard")); err == nil {
		t.Error("a hard link was made")
	}
	// A link that leads outside is only a link: nothing is written through it.
	p.Data = append(p.Data, debtest.Regular("./out/"+filepath.Base(dir), "x"))
	if err := deb.ExtractLinked(bytes.NewReader(p.Build(t)), t.TempDir(), deb.DefaultLimits, all); err == nil {
		t.Error("a file was written through a link that leads outside")
	}
}
