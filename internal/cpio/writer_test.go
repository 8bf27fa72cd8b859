package cpio

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// entry is what read finds: the fields that Linux looks at.
type entry struct {
	Name         string
	Mode         uint32
	Links        uint32
	Major, Minor uint32
	Data         string
}

// read is an independent reader of the format. It returns the entries up to
// the end mark and what follows the archive's last block.
func read(b []byte) (entries []entry, rest []byte, err error) {
	pos := 0
	take := func(n int) ([]byte, error) {
		if n > len(b)-pos {
			return nil, fmt.Errorf("truncated at %#x", pos)
		}
		pos += n
		return b[pos-n : pos], nil
	}
	align := func(n int) error {
		for pos%n != 0 {
			c, err := take(1)
			if err != nil || c[0] != 0 {
				return fmt.Errorf("bad padding at %#x", pos)
			}
		}
		return nil
	}
	seen := map[uint64]bool{}
	for {
		h, err := take(110)
		if err != nil {
			return nil, nil, err
		}
		if string(h[:6]) != "070701" {
			return nil, nil, fmt.Errorf("bad magic at %#x", pos-110)
		}
		var f [13]uint64
		for i := range f {
			if f[i], err = strconv.ParseUint(string(h[6+8*i:14+8*i]), 16, 32); err != nil {
				return nil, nil, err
			}
		}
		if f[2] != 0 || f[3] != 0 || f[5] != 0 {
			return nil, nil, errors.New("user, group or time is not 0")
		}
		name, err := take(int(f[11]))
		if err != nil {
			return nil, nil, err
		}
		if name[len(name)-1] != 0 {
			return nil, nil, errors.New("name without its NUL")
		}
		if err := align(4); err != nil {
			return nil, nil, err
		}
		data, err := take(int(f[6]))
		if err != nil {
			return nil, nil, err
		}
		if err := align(4); err != nil {
			return nil, nil, err
		}
		n := string(name[:len(name)-1])
		if n == "TRAILER!!!" {
			if err := align(512); err != nil {
				return nil, nil, err
			}
			return entries, b[pos:], nil
		}
		if seen[f[0]] {
			return nil, nil, fmt.Errorf("%s: inode %d is used twice", n, f[0])
		}
		seen[f[0]] = true
		entries = append(entries, entry{n, uint32(f[1]), uint32(f[4]), uint32(f[9]), uint32(f[10]), string(data)})
	}
}

func writeSample(w *Writer) error {
	return errors.Join(
		w.Dir("tmp", 0o777|fs.ModeSticky),
		w.File("/usr/bin/tool", 0o755|fs.ModeSetuid, 5, strings.NewReader("hello, and more")),
		w.File("usr/bin/empty", 0o600, 0, strings.NewReader("")),
		w.Dir("usr", 0o755),
		w.Symlink("bin", "usr/bin"),
		w.Device("dev/console", 0o600|fs.ModeCharDevice, 5, 1),
		w.Device("dev/vda", 0o640, 254, 0),
		w.Close(),
	)
}

func TestWriter(t *testing.T) {
	var b bytes.Buffer
	if err := writeSample(NewWriter(&b)); err != nil {
		t.Fatal(err)
	}
	got, rest, err := read(b.Bytes())
	if err != nil || len(rest) != 0 {
		t.Fatalf("read: %v, %d bytes left", err, len(rest))
	}
	want := []entry{
		{"tmp", 0o041777, 2, 0, 0, ""},
		{"usr", 0o040755, 2, 0, 0, ""},
		{"usr/bin", 0o040755, 2, 0, 0, ""},
		{"usr/bin/tool", 0o104755, 1, 0, 0, "hello"},
		{"usr/bin/empty", 0o100600, 1, 0, 0, ""},
		{"bin", 0o120777, 1, 0, 0, "usr/bin"},
		{"dev", 0o040755, 2, 0, 0, ""},
		{"dev/console", 0o020600, 1, 5, 1, ""},
		{"dev/vda", 0o060640, 1, 254, 0, ""},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestWriterIsReproducible(t *testing.T) {
	var a, b bytes.Buffer
	if err := errors.Join(writeSample(NewWriter(&a)), writeSample(NewWriter(&b))); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("the same calls gave different archives")
	}
}

func TestArchivesConcatenate(t *testing.T) {
	var b bytes.Buffer
	if err := errors.Join(writeSample(NewWriter(&b)), writeSample(NewWriter(&b))); err != nil {
		t.Fatal(err)
	}
	first, rest, err := read(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	second, rest, err := read(rest)
	if err != nil || len(rest) != 0 {
		t.Fatalf("second archive: %v, %d bytes left", err, len(rest))
	}
	if d := cmp.Diff(first, second); d != "" {
		t.Error(d)
	}
}

// full accepts room bytes, then fails as a full disk does.
type full struct{ room int }

var errFull = errors.New("no space left on device")

func (f *full) Write(b []byte) (int, error) {
	n := min(len(b), f.room)
	f.room -= n
	if n < len(b) {
		return n, errFull
	}
	return n, nil
}

func TestWriterErrors(t *testing.T) {
	none := strings.NewReader("")
	for _, test := range []struct {
		name string
		call func(w *Writer) error
		want string
	}{
		{"empty name", func(w *Writer) error { return w.Dir("/", 0o755) }, "cpio: /: name is empty"},
		{"upwards", func(w *Writer) error { return w.File("a/../../b", 0o644, 0, none) }, `name has a ".."`},
		{"end mark", func(w *Writer) error { return w.Dir("TRAILER!!!", 0o755) }, "end mark"},
		{"long name", func(w *Writer) error { return w.Dir(strings.Repeat("n", 4096), 0o755) }, "name has 4096 bytes"},
		{"NUL", func(w *Writer) error { return w.Dir("a\x00b", 0o755) }, "NUL"},
		{"twice", func(w *Writer) error {
			_ = w.File("a", 0o644, 0, none)
			return w.File("/a", 0o644, 0, none)
		}, "cpio: a: is in the archive already"},
		{"other mode", func(w *Writer) error {
			_ = w.File("d/f", 0o644, 0, none)
			return w.Dir("d", 0o700)
		}, "cpio: d: is in the archive already"},
		{"below a file", func(w *Writer) error {
			_ = w.File("a", 0o644, 0, none)
			return w.File("a/b", 0o644, 0, none)
		}, "cpio: a/b: a is not a folder"},
		{"too big", func(w *Writer) error { return w.File("a", 0o644, 1<<32, none) }, "cpio: a: size 4294967296 does not fit"},
		{"negative", func(w *Writer) error { return w.File("a", 0o644, -1, none) }, "size -1"},
		{"short content", func(w *Writer) error { return w.File("a", 0o644, 3, strings.NewReader("xy")) }, "cpio: a: content ends after 2 of 3 bytes"},
		{"no target", func(w *Writer) error { return w.Symlink("a", "") }, "cpio: a: link target"},
		{"after close", func(w *Writer) error {
			_ = w.Close()
			return w.Dir("a", 0o755)
		}, "cpio: archive is closed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := NewWriter(io.Discard)
			err := test.call(w)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, want %q", err, test.want)
			}
			if again := w.Close(); again == nil {
				t.Error("the error did not stay")
			}
		})
	}
}

func TestWriterFullDisk(t *testing.T) {
	var whole bytes.Buffer
	if err := writeSample(NewWriter(&whole)); err != nil {
		t.Fatal(err)
	}
	for room := 0; room < whole.Len(); room += 7 {
		if err := writeSample(NewWriter(&full{room})); !errors.Is(err, errFull) {
			t.Fatalf("with room for %d bytes: %v", room, err)
		}
	}
}

// TestWriterAgainstModel writes random trees and reads the same tree back.
func TestWriterAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b bytes.Buffer
		w := NewWriter(&b)
		want := map[string]string{} // name → content, folders end in "/"
		element := rapid.StringMatching(`[a-c]{1,2}`)
		for range rapid.IntRange(0, 20).Draw(t, "entries") {
			name := strings.Join(rapid.SliceOfN(element, 1, 4).Draw(t, "name"), "/")
			if _, ok := want[name]; ok {
				continue
			}
			if _, ok := want[name+"/"]; ok {
				continue
			}
			below := false
			for p := path.Dir(name); p != "."; p = path.Dir(p) {
				if _, ok := want[p]; ok {
					below = true
				}
			}
			if below {
				continue
			}
			data := rapid.StringN(0, 40, -1).Draw(t, "data")
			if err := w.File(name, 0o644, int64(len(data)), strings.NewReader(data)); err != nil {
				t.Fatal(err)
			}
			want[name] = data
			for p := path.Dir(name); p != "."; p = path.Dir(p) {
				want[p+"/"] = ""
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		entries, _, err := read(b.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, e := range entries {
			name := e.Name
			if e.Mode&0o170000 == 0o040000 {
				name += "/"
			}
			if parent := path.Dir(e.Name); parent != "." {
				if _, ok := got[parent+"/"]; !ok {
					t.Fatalf("%s comes before its folder", e.Name)
				}
			}
			got[name] = e.Data
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatal(d)
		}
	})
}
