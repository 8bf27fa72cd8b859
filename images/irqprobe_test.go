package images

import (
	"archive/tar"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"doorbell/internal/deb/debtest"
)

// headersMirror is a mirror with a kernel and its headers, which are in three packages; the compiler, which they name too, it does not have.
func headersMirror(t *testing.T, without ...string) (conf string) {
	t.Helper()
	const head = "Version: 6.99.1-1\nArchitecture: amd64\nMaintainer: nobody\nDescription: test\n"
	all := []debtest.Package{
		kernelPackage(t),
		{Control: "Package: " + kernelMetapackage + "\nDepends: linux-image-" + testRelease + "\n" + head},
		{Control: "Package: linux-headers-" + testRelease + "\nDepends: linux-headers-6.99.0-1-common (= 6.99.1-1), linux-kbuild-6.99 (>= 6.99.1-1), linux-compiler-gcc-12-x86\n" + head, Data: []debtest.File{
			debtest.Regular("./usr/src/linux-headers-"+testRelease+"/Makefile", "include /usr/src/linux-headers-6.99.0-1-common/Makefile\n"),
			{Header: tar.Header{Name: "./usr/src/linux-headers-" + testRelease + "/scripts", Linkname: "../../lib/linux-kbuild-6.99/scripts", Typeflag: tar.TypeSymlink}},
			debtest.Regular("./usr/share/doc/linux-headers/copyright", "words"),
		}},
		{Control: "Package: linux-headers-6.99.0-1-common\n" + head, Data: []debtest.File{debtest.Regular("./usr/src/linux-headers-6.99.0-1-common/Makefile", "all:\n")}},
		{Control: "Package: linux-kbuild-6.99\n" + head, Data: []debtest.File{{Header: tar.Header{Name: "./usr/lib/linux-kbuild-6.99/scripts/modpost", Mode: 0o755}, Content: "modpost"}}},
	}
	var kept []debtest.Package
	for _, p := range all {
		missing := false
		for _, name := range without {
			missing = missing || strings.HasPrefix(p.Control, "Package: "+name)
		}
		if !missing {
			kept = append(kept, p)
		}
	}
	return aptMirror(t, map[string][]debtest.Package{"stable": kept})
}

// tools puts shell scripts by those names, beside the machine's programs, where programs are looked for.
func tools(t *testing.T, scripts map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, script := range scripts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

func TestIRQProbe(t *testing.T) {
	ctx := context.Background()
	privateCache(t)
	source := kernelSource{aptConf: headersMirror(t)}
	k, err := source.kernel(ctx)
	if err != nil {
		t.Fatal(err)
	}
	ko := filepath.Join(t.TempDir(), "made.ko")
	writeFiles(t, filepath.Dir(ko), map[string]string{"made.ko": koFile(t, "name=irqprobe", "depends=", "alias=pci:v00001B36d00000BEEsv*sd*bc*sc*i*")})
	// A make that looks at what it is given, in place of a kernel's.
	tools(t, map[string]string{"gcc": "", "make": `
while [ $# -gt 0 ]; do case $1 in -C) build=$2; shift ;; -f) common=$2; shift ;; M=*) dir=${1#M=} ;; esac; shift; done
[ -f "$common" ] && [ -f "$build/Makefile" ] && [ -x "$build/scripts/modpost" ] && [ -f "$dir/irqprobe.c" ] && [ -f "$dir/irqprobe.h" ] && [ -f "$dir/Kbuild" ] || exit 2
cp ` + ko + ` "$dir/irqprobe.ko"
`})
	m, err := source.irqprobe(ctx, k)
	if err != nil {
		t.Fatal(err)
	}
	if m.Name != "irqprobe" || len(m.Aliases) != 1 || read(t, m.Path) != read(t, ko) {
		t.Errorf("%+v", m)
	}
	// From now on it takes neither apt nor a compiler.
	t.Setenv("PATH", "")
	if again, err := source.irqprobe(ctx, k); err != nil || again.Path != m.Path {
		t.Errorf("%+v, %v", again, err)
	}
}

func TestIRQProbeFailures(t *testing.T) {
	ctx := context.Background()
	build := func(t *testing.T, s kernelSource) error {
		t.Helper()
		privateCache(t)
		k, err := s.kernel(ctx)
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.irqprobe(ctx, k)
		return err
	}
	t.Run("no headers any more", func(t *testing.T) {
		tools(t, map[string]string{"gcc": "", "make": "exit 1"})
		err := build(t, kernelSource{aptConf: headersMirror(t, "linux-headers-"+testRelease)})
		wantError(t, err, "module irqprobe for Linux "+testRelease+": its headers are not in", "remove the cached kernel")
	})
	t.Run("not all of them", func(t *testing.T) {
		tools(t, map[string]string{"gcc": "", "make": "exit 1"})
		err := build(t, kernelSource{aptConf: headersMirror(t, "linux-kbuild-")})
		wantError(t, err, "package linux-kbuild-6.99: ")
	})
	t.Run("a compiler's error", func(t *testing.T) {
		tools(t, map[string]string{"gcc": "", "make": "echo CC irqprobe.o; echo 'irqprobe.c:1: error: no such thing'; echo 'make: *** [all] stop'; exit 2"})
		err := build(t, kernelSource{aptConf: headersMirror(t)})
		wantError(t, err, "module irqprobe for Linux "+testRelease+": make: exit status 2: irqprobe.c:1: error: no such thing")
	})
	t.Run("no compiler", func(t *testing.T) {
		privateCache(t)
		s := kernelSource{aptConf: headersMirror(t)}
		k, err := s.kernel(ctx)
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv("PATH", t.TempDir())
		_, err = s.irqprobe(ctx, k)
		wantError(t, err, "gcc is missing: install gcc")
	})
}

// A folder of a release may have, in place of a guest, the reason why there is none.
func TestGuestThatIsMissing(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(EnvGuest, dir)
	if err := os.Mkdir(filepath.Join(dir, "rt+irqprobe"), 0o755); err != nil {
		t.Fatal(err)
	}
	writeFiles(t, filepath.Join(dir, "rt+irqprobe"), map[string]string{MissingFile: "gcc is missing\n"})
	_, err := GuestOf(context.Background(), Release{Realtime: true, IRQProbe: true}, nil)
	if err == nil || err.Error() != "gcc is missing" {
		t.Errorf("%v", err)
	}
}
