package lab

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// planFor is newPlan with this test binary as init, which is static or not
// but a file for sure.
func planFor(t *testing.T, cfg Config) (*plan, error) {
	t.Helper()
	cfg.Kernel = "unused"
	cfg, err := cfg.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	return newPlan(cfg)
}

// realTempDir is TempDir free of symbolic links.
func realTempDir(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestPlanMirrorsLinks(t *testing.T) {
	base := realTempDir(t)
	writeFile(t, filepath.Join(base, "real/deep/file"), "content")
	writeFile(t, filepath.Join(base, "real/work/testdata/a/golden"), "gold")
	for link, target := range map[string]string{
		"relative": "real", "absolute": filepath.Join(base, "real"), "twice": "relative/deep",
		"real/work/testdata/up": "../../deep/file", "loop": "loop", "toproc": "/proc",
	} {
		if err := os.Symlink(target, filepath.Join(base, link)); err != nil {
			t.Fatal(err)
		}
	}
	p, err := planFor(t, Config{
		Command: []string{"doorbell", "twice/file", filepath.Join(base, "absolute/deep"), "new", "toproc/version", "loop"},
		Dir:     base,
	})
	if err != nil {
		t.Fatal(err)
	}
	if p.path != "/usr/bin/doorbell" || p.tree.nodes["/init"].target != "usr/bin/doorbell" {
		t.Errorf("doorbell is %s, init %+v", p.path, p.tree.nodes["/init"])
	}
	got := map[string]string{}
	for name, n := range p.tree.nodes {
		relative, ok := strings.CutPrefix(name, base+"/")
		switch {
		case !ok:
		case n.mode&fs.ModeSymlink != 0:
			got[relative] = "-> " + strings.ReplaceAll(n.target, base, "BASE")
		case n.mode.IsDir():
			got[relative] = "folder"
		default:
			got[relative] = "file " + strings.TrimPrefix(n.host, base+"/")
		}
	}
	want := map[string]string{
		"relative": "-> real", "absolute": "-> BASE/real", "twice": "-> relative/deep",
		"real": "folder", "real/deep": "folder", "real/deep/file": "file real/deep/file", "toproc": "-> /proc",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{base}, p.returns); d != "" {
		t.Error(d)
	}

	p, err = planFor(t, Config{Command: []string{"doorbell", filepath.Join(base, "twice/new")}, Dir: filepath.Join(base, "relative/work")})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{filepath.Join(base, "real/deep/new"), filepath.Join(base, "real/work")}, p.returns); d != "" {
		t.Error(d)
	}
	for _, name := range []string{"real/work/testdata/a/golden", "real/work/testdata/up", "real/deep/file"} {
		if _, ok := p.tree.nodes[filepath.Join(base, name)]; !ok {
			t.Errorf("testdata: %s does not travel", name)
		}
	}
	if p.dir != filepath.Join(base, "relative/work") {
		t.Errorf("runs in %s", p.dir)
	}
}

func TestPlanCommands(t *testing.T) {
	dir := realTempDir(t)
	tool := filepath.Join(dir, "bin/tool")
	writeFile(t, tool, "no ELF")
	if err := os.Chmod(tool, 0o751); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ command, want string }{
		{"tool", tool}, {"./bin/tool", tool}, {tool, tool}, {"bin/../bin/tool", tool},
	} {
		p, err := planFor(t, Config{Command: []string{test.command}, Dir: dir, Env: []string{"PATH=/none:" + dir + "/bin"}})
		if err != nil {
			t.Errorf("%s: %v", test.command, err)
			continue
		}
		if n := p.tree.nodes[test.want]; p.path != test.want || n.host != tool || n.mode != 0o751 {
			t.Errorf("%s: runs %s, which is %+v", test.command, p.path, n)
		}
	}
	_, err := planFor(t, Config{Command: []string{"nosuch"}, Dir: dir, Env: []string{"PATH=" + dir}})
	if !errors.Is(err, exec.ErrNotFound) || !strings.HasPrefix(err.Error(), "lab: command nosuch: ") {
		t.Errorf("a command that is nowhere: %v", err)
	}
	_, err = planFor(t, Config{Command: []string{"./nosuch"}, Dir: dir})
	if !errors.Is(err, fs.ErrNotExist) || !strings.HasPrefix(err.Error(), "lab: command ./nosuch: ") {
		t.Errorf("a command that does not exist: %v", err)
	}
}

func TestPlanErrors(t *testing.T) {
	dir := realTempDir(t)
	big := filepath.Join(dir, "big")
	writeFile(t, big, "")
	if err := os.Truncate(big, 200<<20); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"no folder", Config{Dir: filepath.Join(dir, "none")}, "lab: working folder: lstat "},
		{"a file for a folder", Config{Dir: big}, "lab: working folder: " + big + ": is not a folder"},
		{"no module", Config{Dir: dir, Modules: []Module{{Name: "kvm", Path: "/none/kvm.ko"}}}, "lab: kernel module kvm: stat /none/kvm.ko"},
		{"no init", Config{Dir: dir, Init: "/none/init"}, "lab: init: stat /none/init"},
		{"no binary", Config{Dir: dir, Binaries: []string{"/none/busybox"}}, "lab: command /none/busybox: open "},
		{"no file to carry", Config{Dir: dir, Files: []File{{Host: "/none/f", Guest: "/f"}}}, "lab: file to carry: stat /none/f"},
		{"a file to carry nowhere", Config{Dir: dir, Files: []File{{Host: big, Guest: "f"}}}, "want a regular file and an absolute path"},
		{"too much", Config{Dir: dir, Memory: 256 << 20, Files: []File{{Host: big, Guest: "/big"}}}, "an emulated host with 256 MiB of memory holds 102 MiB"},
	} {
		test.cfg.Command = []string{"doorbell"}
		_, err := planFor(t, test.cfg)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
}

func TestConfigErrors(t *testing.T) {
	for want, cfg := range map[string]Config{
		"lab: no command given":        {Kernel: "k"},
		"lab: no kernel given":         {Command: []string{"c"}},
		"lab: memory of 1 bytes":       {Kernel: "k", Command: []string{"c"}, Memory: 1},
		"lab: -1 CPUs: at least 1":     {Kernel: "k", Command: []string{"c"}, CPUs: -1},
		"lab: memory of -100 bytes: L": {Kernel: "k", Command: []string{"c"}, Memory: -100},
	} {
		if _, err := cfg.withDefaults(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestOutermost(t *testing.T) {
	for _, test := range []struct{ paths, want []string }{
		{[]string{"/a/b", "/a", "/a/b/c", "/ab"}, []string{"/a", "/ab"}},
		{[]string{"/x", "/"}, []string{"/"}},
		// A search of the root leaves out scratch folders: what is in them
		// stands for itself.
		{[]string{"/", "/tmp/r", "/tmp/r/s", "/home"}, []string{"/", "/tmp/r"}},
		{[]string{"/tmp", "/tmp/r"}, []string{"/tmp"}},
		{[]string{"/var", "/var/tmp/x"}, []string{"/var", "/var/tmp/x"}},
	} {
		if d := cmp.Diff(test.want, outermost(test.paths)); d != "" {
			t.Error(d)
		}
	}
}

func TestTreeIsReproducible(t *testing.T) {
	dir := realTempDir(t)
	for _, name := range []string{"b", "a/c", "a/b"} {
		writeFile(t, filepath.Join(dir, name), name)
	}
	var images [2]bytes.Buffer
	for i := range images {
		tree := newTree()
		if err := tree.mirrorAll(dir); err != nil {
			t.Fatal(err)
		}
		if err := tree.write(&images[i]); err != nil {
			t.Fatal(err)
		}
	}
	if images[0].Len() == 0 || !bytes.Equal(images[0].Bytes(), images[1].Bytes()) {
		t.Error("the same files gave different images")
	}
}
