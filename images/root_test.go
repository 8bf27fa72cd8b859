package images

import (
	"archive/tar"
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"doorbell/internal/deb/debtest"
)

// programs makes a mirror with a suite that has a program, its library, and something that nobody asks for; it returns apt's configuration.
func programs(t *testing.T) (conf string) {
	t.Helper()
	all := []debtest.Package{
		{Control: "Package: tool\nDepends: lib\n", Data: []debtest.File{
			{Header: tar.Header{Name: "./usr/bin/tool", Mode: 0o755}, Content: "the tool"},
			debtest.Regular("./usr/share/doc/tool/README", "words"),
		}},
		{Control: "Package: lib\n", Data: []debtest.File{
			debtest.Regular("./usr/lib/lib.so.1.2", "the library"),
			{Header: tar.Header{Name: "./usr/lib/lib.so.1", Linkname: "lib.so.1.2", Typeflag: tar.TypeSymlink}},
			{Header: tar.Header{Name: "./usr/lib/out", Linkname: "/etc", Typeflag: tar.TypeSymlink}},
		}},
		{Control: "Package: other\n", Data: []debtest.File{debtest.Regular("./usr/bin/other", "")}},
	}
	for i := range all {
		all[i].Control += "Version: 1\nArchitecture: amd64\nMaintainer: nobody\nDescription: test\n"
	}
	return aptMirror(t, map[string][]debtest.Package{"other": all})
}

func TestRoot(t *testing.T) {
	privateCache(t)
	ctx := context.Background()
	r := RootRecipe{Name: "tools", Suite: "other", Packages: []string{"tool"}, Keep: []string{"usr/bin/tool", "usr/lib/"}}
	var progress bytes.Buffer
	dir, err := r.root(ctx, programs(t), &progress)
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, filepath.Join(dir, "usr/bin/tool")) + ", " + read(t, filepath.Join(dir, "usr/lib/lib.so.1")); got != "the tool, the library" {
		t.Errorf("got %q", got)
	}
	if info, err := os.Stat(filepath.Join(dir, "usr/bin/tool")); err != nil || info.Mode()&0o100 == 0 {
		t.Errorf("the tool cannot be run: %v, %v", info, err)
	}
	for _, absent := range []string{"usr/share", "usr/bin/other"} {
		if _, err := os.Lstat(filepath.Join(dir, absent)); err == nil {
			t.Errorf("%s is there", absent)
		}
	}
	for _, want := range []string{"downloading tools and what it depends on (2 packages)", "unpacking tools (2 packages)"} {
		if !strings.Contains(progress.String(), want) {
			t.Errorf("progress has no %q:\n%s", want, progress.String())
		}
	}
	if entries, err := os.ReadDir(filepath.Dir(dir)); err != nil || len(entries) != 1 {
		t.Errorf("the cache has %v, %v", entries, err)
	}
	// From now on it needs no apt.
	t.Setenv("PATH", "")
	if again, err := Root(ctx, r, nil); err != nil || again != dir {
		t.Errorf("%s, %v", again, err)
	}
	other := r
	other.Keep = []string{"usr/lib/"}
	_, err = Root(ctx, other, nil)
	wantError(t, err, "tools of Debian's other: no apt-get on this machine")
}

func TestRootFailures(t *testing.T) {
	for name, c := range map[string]struct {
		recipe RootRecipe
		want   string
	}{
		"no such package": {RootRecipe{Name: "x", Suite: "other", Packages: []string{"absent"}}, "x of Debian's other: find absent: apt: Unable to locate package absent"},
		"no such suite":   {RootRecipe{Name: "x", Suite: "nowhere", Packages: []string{"tool"}}, "x of Debian's nowhere: the lists of packages could not be downloaded: "},
	} {
		t.Run(name, func(t *testing.T) {
			cache := privateCache(t)
			_, err := c.recipe.root(context.Background(), programs(t), nil)
			wantError(t, err, c.want)
			if entries, err := os.ReadDir(filepath.Join(cache, "roots")); err != nil || len(entries) != 0 {
				t.Errorf("left behind: %v, %v", entries, err)
			}
		})
	}
}
