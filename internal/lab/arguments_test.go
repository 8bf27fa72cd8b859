package lab

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParts(t *testing.T) {
	for argument, want := range map[string][]string{
		"":                          nil,
		"file":                      {"file"},
		"-k=file":                   {"-k=file", "file"},
		"--report=json=r.json":      {"--report=json=r.json", "json=r.json", "r.json"},
		"user,log=a.log,b":          {"user,log=a.log,b", "a.log,b", "user", "log=a.log", "a.log", "b"},
		"x=a=b,c":                   {"x=a=b,c", "a=b,c", "b,c", "x=a=b", "a=b", "b", "c"},
		"==":                        {"==", "="},
		",,":                        {",,"},
		"a\x00b,c":                  {"c"},
		"-test.coverprofile=/c.out": {"-test.coverprofile=/c.out", "/c.out"},
	} {
		if d := cmp.Diff(want, parts(argument)); d != "" {
			t.Errorf("%q: %s", argument, d)
		}
	}
}

func TestScan(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"kernel", "sub/file", "a,b", "x=y", "two\nlines"} {
		writeFile(t, filepath.Join(dir, name), "")
	}
	for link, target := range map[string]string{"link": "kernel", "dangling": "nowhere", "tolinkdir": "sub"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	at := func(names ...string) []string {
		var all []string
		for _, name := range names {
			all = append(all, filepath.Join(dir, name))
		}
		return all
	}
	for _, test := range []struct {
		name      string
		arguments []string
		want      named
	}{
		{"a file", []string{"kernel"}, named{files: at("kernel")}},
		{"a file twice", []string{"kernel", "./sub/../kernel"}, named{files: at("kernel")}},
		{"a file behind =", []string{"-k=kernel"}, named{files: at("kernel"), absent: at("-k=kernel")}},
		{"a file with the signs in its name", []string{"x=y", dir + "/a,b"}, named{
			files:  at("x=y", "a,b"),
			absent: at("y", "a", "b"), // to be in the folder; that does no harm
		}},
		{"an absolute path", []string{dir + "/kernel"}, named{files: at("kernel")}},
		{"a folder", []string{"sub", "tolinkdir"}, named{folders: at("sub", "tolinkdir")}},
		{"a link", []string{"link"}, named{files: at("link")}},
		{"a link to nowhere", []string{"dangling"}, named{}},
		{"a file to be", []string{"sub/new"}, named{absent: at("sub/new")}},
		{"a file in no folder", []string{"none/new"}, named{}},
		{"the kernel's files", []string{"/proc/version", "/dev/kvm", "/sys/kernel", "../../../../../../../../../proc/cpuinfo"}, named{}},
		{"text", []string{"two\nlines", "echo hello\nkernel"}, named{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := scan(dir, test.arguments)
			if d := cmp.Diff(test.want, got, cmp.AllowUnexported(named{})); d != "" {
				t.Error(d)
			}
		})
	}
}

func FuzzScan(f *testing.F) {
	f.Add("--report=json=r.json,b")
	f.Add(strings.Repeat(",", 1000))
	f.Add(strings.Repeat("a=", 1000))
	f.Add("/proc/../proc/self/mem")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, argument string) {
		n := scan(dir, []string{argument})
		for _, all := range [][]string{n.files, n.folders, n.absent} {
			for _, name := range all {
				if !filepath.IsAbs(name) || filepath.Clean(name) != name || inKernelFolder(name) {
					t.Fatalf("%q names %q", argument, name)
				}
			}
		}
	})
}
