package lab

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"doorbell/internal/lab/wire"
)

// bring sends one file home.
func bring(h *home, name, content string, mode uint32) {
	h.begin(wire.FileMessage{Path: []byte(name), Mode: mode, Size: int64(len(content))})
	for i := range len(content) {
		h.data([]byte{content[i]})
	}
	h.end()
}

func TestHomeWritesFiles(t *testing.T) {
	dir := realTempDir(t)
	old := filepath.Join(dir, "old")
	writeFile(t, old, "old content")
	fresh, deep, empty := filepath.Join(dir, "fresh"), filepath.Join(dir, "a/b/deep"), filepath.Join(dir, "empty")
	h := &home{returns: []string{dir}}
	bring(h, old, "new", 0o600)
	bring(h, fresh, "fresh", 0o4755)
	bring(h, deep, "deep", 0o644)
	bring(h, empty, "", 0o644)
	if h.err != nil {
		t.Fatal(h.err)
	}
	if d := cmp.Diff([]string{old, fresh, deep, empty}, h.files); d != "" {
		t.Error(d)
	}
	for name, want := range map[string]string{old: "new", fresh: "fresh", deep: "deep", empty: ""} {
		if b, err := os.ReadFile(name); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	// No command on an emulated machine gives privileges on this one.
	if info, err := os.Stat(fresh); err != nil || info.Mode() != 0o755 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestHomeRefuses(t *testing.T) {
	dir, elsewhere := realTempDir(t), realTempDir(t)
	blocked := filepath.Join(dir, "blocked")
	if err := os.Mkdir(blocked, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(elsewhere, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(elsewhere, "file"), filepath.Join(dir, "filelink")); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "file"), "a file")
	for name, want := range map[string]string{
		filepath.Join(elsewhere, "x"):      "is not among the paths that come back",
		dir + "x":                          "is not among the paths that come back",
		dir + "/../x":                      "is not among the paths that come back",
		"relative":                         "is not among the paths that come back",
		blocked:                            "is no regular file on this machine",
		filepath.Join(dir, "filelink"):     "is no regular file on this machine",
		filepath.Join(dir, "link", "file"): "its folder has become a symbolic link",
		filepath.Join(dir, "file", "x"):    "not a directory",
	} {
		h := &home{returns: []string{dir}}
		bring(h, name, "content", 0o644)
		good := filepath.Join(dir, "good")
		bring(h, good, "good", 0o644)
		if h.err == nil || !strings.HasPrefix(h.err.Error(), "lab: write "+name+" back: ") || !strings.Contains(h.err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, h.err, want)
		}
		if d := cmp.Diff([]string{good}, h.files); d != "" {
			t.Errorf("after %s: %s", name, d)
		}
	}
	if left, err := os.ReadDir(elsewhere); err != nil || len(left) != 0 {
		t.Errorf("written elsewhere: %v, %v", left, err)
	}
}

func TestHomeLeavesNothingHalf(t *testing.T) {
	for name, cut := range map[string]func(h *home){
		"abort":          func(h *home) { h.abort(); h.data([]byte("more")); h.end() },
		"another begins": func(h *home) { h.begin(wire.FileMessage{Path: []byte("/not/home")}) },
		"too little":     func(h *home) { h.end() },
		"too much":       func(h *home) { h.data(make([]byte, 100)); h.end() },
	} {
		dir := realTempDir(t)
		file := filepath.Join(dir, "file")
		writeFile(t, file, "old")
		h := &home{returns: []string{dir}}
		h.begin(wire.FileMessage{Path: []byte(file), Mode: 0o644, Size: 10})
		h.data([]byte("half"))
		cut(h)
		if b, err := os.ReadFile(file); err != nil || string(b) != "old" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
			t.Errorf("%s: left behind: %v, %v", name, left, err)
		}
	}
}

func TestHomeSurvivesAnyOrder(t *testing.T) {
	h := &home{}
	h.data([]byte("x"))
	h.end()
	h.abort()
	h.begin(wire.FileMessage{Path: []byte("/x")})
	if h.err != nil || h.files != nil {
		t.Errorf("%v, %v", h.err, h.files)
	}
}
