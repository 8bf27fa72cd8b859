package images

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"doorbell/internal/deb/debtest"
)

func TestSuiteChange(t *testing.T) {
	trixie := suiteChange{[]string{"bookworm", "stable"}, "trixie"}
	for suite, want := range map[string]string{
		"bookworm": "trixie", "bookworm-security": "trixie-security", "bookworm/updates": "trixie/updates", "stable-updates": "trixie-updates",
		"bookwormish": "", "nodistro": "", "cloud-sdk-bookworm": "", "": "", "/": "",
	} {
		if got := trixie.rename(suite); got != want {
			t.Errorf("%q: %q, want %q", suite, got, want)
		}
	}
	sid := suiteChange{[]string{"bookworm"}, "sid"}
	if a, b := sid.rename("bookworm"), sid.rename("bookworm-security"); a != "sid" || b != "" {
		t.Errorf("%q and %q", a, b)
	}

	for _, c := range []struct{ name, file, in, want string }{
		{"list", "sources.list", `# deb http://a/debian bookworm main
deb http://a/debian bookworm main contrib # the rest
deb-src http://a/debian bookworm main
deb [ arch=amd64 signed-by=/usr/share/keyrings/a.gpg ] http://a/debian-security bookworm-security main
deb [signed-by=/k.gpg] http://a/debian stable-updates main
deb https://b/apt nodistro main
deb file:/x ./
deb [
deb [broken http://a bookworm main
`, `deb http://a/debian trixie main contrib
deb [ arch=amd64 signed-by=/usr/share/keyrings/a.gpg ] http://a/debian-security trixie-security main
deb [signed-by=/k.gpg] http://a/debian trixie-updates main
`},
		{"deb822", "debian.sources", "Types: deb deb-src\r\n# a comment\r\nURIs: http://a/debian\r\nsuites: bookworm\r\n bookworm-updates\r\n\tother\r\nComponents: main\r\nSigned-By:\r\n -----BEGIN PGP-----\r\n .\r\n AAAA\r\n" +
			"\n  \nTypes: deb-src\nURIs: http://a/debian\nSuites: bookworm\nComponents: main\n\nTypes: deb\nURIs: http://b\nSuites: nodistro\nComponents: main\n\n\n",
			"Types: deb\nSuites: trixie trixie-updates\nURIs: http://a/debian\nComponents: main\nSigned-By:\n -----BEGIN PGP-----\n .\n AAAA\n\n"},
		{"neither", "old.sources.save", "deb http://a/debian bookworm main\n", ""},
	} {
		if got := string(trixie.file(c.file, []byte(c.in))); got != c.want {
			t.Errorf("%s:\n%s\nwant:\n%s", c.name, got, c.want)
		}
	}
}

// suiteRepository makes a mirror with the suites stable, whose kernel's release is testRelease, other, and split, which has its kernel in
// several packages; and returns apt's configuration for the first of them.
func suiteRepository(t *testing.T) (conf string) {
	t.Helper()
	suites := map[string][]debtest.Package{}
	for suite, release := range map[string]string{"stable": testRelease, "other": "7.1.0-cloud-amd64", "split": "7.2.0-cloud-amd64"} {
		p := kernelPackage(t)
		p.Control = strings.ReplaceAll(p.Control, testRelease, release)
		for i := range p.Data {
			p.Data[i].Header.Name = strings.ReplaceAll(p.Data[i].Header.Name, testRelease, release)
		}
		if suite == "split" {
			p.Control += "Depends: linux-base, linux-binary-" + release + ", linux-modules-" + release + "\n"
		}
		suites[suite] = []debtest.Package{p, {Control: "Package: " + kernelMetapackage + "\nVersion: 1\nArchitecture: amd64\nMaintainer: nobody\nDepends: linux-image-" + release + "\nDescription: test\n"}}
	}
	return aptMirror(t, suites)
}

// aptMirror makes a mirror in a folder with those packages in its suites, and returns apt's configuration for its suite stable.
func aptMirror(t *testing.T, suites map[string][]debtest.Package) (conf string) {
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
	for suite, all := range suites {
		var index bytes.Buffer
		for _, p := range all {
			b := p.Build(t)
			file := fmt.Sprintf("pool/%x.deb", sha256.Sum256(b))
			write(file, b)
			fmt.Fprintf(&index, "%sFilename: %s\nSize: %d\nSHA256: %x\n\n", p.Control, file, len(b), sha256.Sum256(b))
		}
		const packages = "main/binary-amd64/Packages"
		write("dists/"+suite+"/"+packages, index.Bytes())
		write("dists/"+suite+"/Release", fmt.Appendf(nil, "Suite: %s\nCodename: %s\nDate: Sat, 01 Jan 2022 00:00:00 UTC\nArchitectures: amd64\nComponents: main\nSHA256:\n %x %d %s\n",
			suite, suite, sha256.Sum256(index.Bytes()), index.Len(), packages))
	}
	write("parts/here.sources", fmt.Appendf(nil, "Types: deb\nURIs: file:%s\nSuites: stable\nComponents: main\nTrusted: yes\n", dir))
	return fmt.Sprintf("Dir::Etc::sourcelist \"/dev/null\";\nDir::Etc::sourceparts \"%s/parts/\";\n", dir)
}

func TestKernelOfAnotherSuite(t *testing.T) {
	cache := privateCache(t)
	conf := suiteRepository(t)
	own, err := kernelSource{aptConf: conf}.kernel(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	other, err := kernelSource{release: Release{Suite: "other"}, aptConf: conf}.kernel(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if own.Version != testRelease || other.Version != "7.1.0-cloud-amd64" || read(t, other.Vmlinuz) != "the kernel" {
		t.Errorf("got %+v and %+v", own, other)
	}
	if modules, err := other.Modules("virtio_net"); err != nil || len(modules) != 2 {
		t.Errorf("modules %+v, %v", modules, err)
	}
	// From now on neither needs apt, and each stays what it is.
	t.Setenv("PATH", "")
	if again, err := Kernel(context.Background(), nil); err != nil || *again != *own {
		t.Errorf("got %+v, %v", again, err)
	}
	if again, err := KernelOf(context.Background(), Release{Suite: "other"}, nil); err != nil || *again != *other {
		t.Errorf("got %+v, %v", again, err)
	}
	if entries, _ := os.ReadDir(filepath.Join(cache, "suites")); len(entries) != 1 {
		t.Errorf("suites %v", entries)
	}
}

func TestSuiteFailures(t *testing.T) {
	ctx := context.Background()
	t.Run("no such suite", func(t *testing.T) {
		cache := privateCache(t)
		_, err := kernelSource{release: Release{Suite: "trxie"}, aptConf: suiteRepository(t)}.kernel(ctx)
		wantError(t, err, "guest kernel of Debian's trxie: the lists of packages could not be downloaded: ", "dists/trxie/")
		_, err = kernelSource{release: Release{Suite: "trxie", Realtime: true}, aptConf: suiteRepository(t)}.kernel(ctx)
		wantError(t, err, "guest kernel with PREEMPT_RT of Debian's trxie: ")
		if _, err := os.Stat(filepath.Join(cache, "suites", "trxie")); err == nil {
			t.Error("the cache has a folder for it")
		}
	})
	t.Run("several packages", func(t *testing.T) {
		privateCache(t)
		_, err := kernelSource{release: Release{Suite: "split"}, aptConf: suiteRepository(t)}.kernel(ctx)
		wantError(t, err, "guest kernel of Debian's split: package linux-image-7.2.0-cloud-amd64 has no kernel in it", "-k KERNEL")
	})
	t.Run("no sources of Debian", func(t *testing.T) {
		privateCache(t)
		_, err := kernelSource{release: Release{Suite: "trixie"}, aptConf: "Dir::Etc::sourcelist \"/dev/null\";\nDir::Etc::sourceparts \"/dev/null\";\n"}.kernel(ctx)
		wantError(t, err, "guest kernel of Debian's trixie: none of the machine's apt sources", "-k KERNEL")
	})
	t.Run("no apt", func(t *testing.T) {
		privateCache(t)
		t.Setenv("PATH", t.TempDir())
		_, err := KernelOf(ctx, Release{Suite: "trixie"}, nil)
		wantError(t, err, "guest kernel of Debian's trixie: no apt-get on this machine")
	})
}

// TestGuestWithoutOptionalModules: a kernel that is too old to have them gives a guest all the same.
func TestGuestWithoutOptionalModules(t *testing.T) {
	privateCache(t)
	t.Setenv(EnvGuest, "")
	p := kernelPackage(t)
	p.Data = slices.DeleteFunc(p.Data, func(f debtest.File) bool { return strings.Contains(f.Header.Name, "pvpanic") })
	cachePackage(t, p.Build(t))
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{"agent": "AGENT"})
	t.Setenv(EnvAgent, filepath.Join(dir, "agent"))
	g, err := DefaultGuest(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if manifest := archive(t, []byte(read(t, g.Initrd)))["etc/doorbell/modules"]; !strings.Contains(manifest, "virtio_net") || strings.Contains(manifest, "pvpanic") {
		t.Errorf("manifest:\n%s", manifest)
	}
}

// TestGuestOfSuite: DOORBELL_GUEST may have suites' guests, too; one that it does not have is made.
func TestGuestOfSuite(t *testing.T) {
	privateCache(t)
	dir := t.TempDir()
	t.Setenv(EnvGuest, dir)
	if err := os.Mkdir(filepath.Join(dir, "trixie"), 0o755); err != nil {
		t.Fatal(err)
	}
	writeFiles(t, filepath.Join(dir, "trixie"), map[string]string{"kernel": bzImage("6.12.1 (debian)"), "initrd": "x"})
	g, err := GuestOf(context.Background(), Release{Suite: "trixie"}, nil)
	if want := (Guest{dir + "/trixie/kernel", dir + "/trixie/initrd", DefaultCmdline, "6.12.1"}); err != nil || g != want {
		t.Errorf("got %+v, %v, want %+v", g, err, want)
	}
	writeFiles(t, dir, map[string]string{"agent": "AGENT"})
	t.Setenv(EnvAgent, filepath.Join(dir, "agent"))
	t.Setenv("PATH", t.TempDir())
	_, err = GuestOf(context.Background(), Release{Suite: "forky"}, nil)
	wantError(t, err, "guest kernel of Debian's forky: no apt-get on this machine")
}

func FuzzSuiteChange(f *testing.F) {
	f.Add("deb [signed-by=/k] http://a bookworm main\n")
	f.Add("Types: deb\nURIs: http://a\nSuites: bookworm\n bookworm-updates\n\nTypes: deb\n")
	f.Fuzz(func(t *testing.T, text string) {
		c := suiteChange{[]string{"bookworm", "stable"}, "trixie"}
		for _, name := range []string{"a.list", "a.sources"} {
			out := c.file(name, []byte(text))
			// What comes out is of the other suite alone, and rewriting it once more, to a third, loses nothing of it.
			again := suiteChange{[]string{"trixie"}, "trixie"}.file(name, out)
			if !bytes.Equal(out, again) {
				t.Errorf("%s: %q becomes %q", name, out, again)
			}
		}
	})
}
