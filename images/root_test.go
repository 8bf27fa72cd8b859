package images

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"doorbell/internal/deb/debtest"
)

// programs makes a mirror with a suite that has a program, its library, and something that nobody asks for; it returns apt's configuration.
func programs(t *testing.T) (conf string) {
	t.Helper()
	if _, err := exec.LookPath("apt-get"); err != nil {
		t.Skip("apt-get is missing: this is not a Debian machine")
	}
	dir := t.TempDir()
	write := func(name string, b []byte) {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, b, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	var index bytes.Buffer
	for name, p := range map[string]debtest.Package{
		"tool": {Control: "Package: tool\nDepends: lib\n", Data: []debtest.File{
			{Header: tar.Header{Name: "./usr/bin/tool", Mode: 0o755}, Content: "the tool"},
			debtest.Regular("./usr/share/doc/tool/README", "words"),
		}},
		"lib": {Control: "Package: lib\n", Data: []debtest.File{
			debtest.Regular("./usr/lib/lib.so.1.2", "the library"),
			{Header: tar.Header{Name: "./usr/lib/lib.so.1", Linkname: "lib.so.1.2", Typeflag: tar.TypeSymlink}},
			{Header: tar.Header{Name: "./usr/lib/out", Linkname: "/etc", Typeflag: tar.TypeSymlink}},
		}},
		"other": {Control: "Package: other\n", Data: []debtest.File{debtest.Regular("./usr/bin/other", "")}},
	} {
		p.Control += "Version: 1\nArchitecture: amd64\nMaintainer: nobody\nDescription: test\n"
		b := p.Build(t)
		write("pool/"+name+".deb", b)
		fmt.Fprintf(&index, "%sFilename: pool/%s.deb\nSize: %d\nSHA256: %x\n\n", p.Control, name, len(b), sha256.Sum256(b))
	}
	const packages = "main/binary-amd64/Packages"
	write("dists/other/"+packages, index.Bytes())
	write("dists/other/Release", fmt.Appendf(nil, "Suite: other\nCodename: other\nDate: Sat, 01 Jan 2022 00:00:00 UTC\nArchitectures: amd64\nComponents: main\nSHA256:\n %x %d %s\n",
		sha256.Sum256(index.Bytes()), index.Len(), packages))
	write("parts/here.sources", fmt.Appendf(nil, "Types: deb\nURIs: file:%s\nSuites: stable\nComponents: main\nTrusted: yes\n", dir))
	return fmt.Sprintf("Dir::Etc::sourcelist \"/dev/null\";\nDir::Etc::sourceparts \"%s/parts/\";\n", dir)
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
