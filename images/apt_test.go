package images

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"doorbell/internal/deb/debtest"
)

// repository makes a package source in a folder, with a kernel and its
// metapackage, and returns apt's configuration for it and nothing else.
func repository(t *testing.T) (dir, conf string) {
	t.Helper()
	if _, err := exec.LookPath("apt-get"); err != nil {
		t.Skip("apt-get is missing: this is not a Debian machine")
	}
	dir = t.TempDir()
	var index bytes.Buffer
	add := func(p debtest.Package, file string) {
		b := p.Build(t)
		if err := os.WriteFile(filepath.Join(dir, file), b, 0o644); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&index, "%sFilename: ./%s\nSize: %d\nSHA256: %x\n\n", p.Control, file, len(b), sha256.Sum256(b))
	}
	add(kernelPackage(t), "linux-image-"+testRelease+"_6.99.1-1_amd64.deb")
	add(debtest.Package{Control: "Package: " + kernelMetapackage + "\nVersion: 6.99.1-1\nArchitecture: amd64\nMaintainer: nobody\nDepends: linux-base, linux-image-" +
		testRelease + " (= 6.99.1-1)\nDescription: test\n more of it\n"}, "meta.deb")
	if err := os.WriteFile(filepath.Join(dir, "Packages"), index.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(dir, "sources.list")
	if err := os.WriteFile(list, []byte("deb [trusted=yes] file:"+dir+" ./\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir, fmt.Sprintf("Dir::Etc::sourcelist \"%s\";\nDir::Etc::sourceparts \"/dev/null\";\n", list)
}

func TestKernelByApt(t *testing.T) {
	cache := privateCache(t)
	_, conf := repository(t)
	var progress bytes.Buffer
	k, err := kernelSource{progress: &progress, aptConf: conf}.kernel(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if k.Version != testRelease || read(t, k.Vmlinuz) != "the kernel" {
		t.Errorf("got %+v", k)
	}
	for _, want := range []string{"downloading the lists of packages\n", "downloading linux-image-" + testRelease + " 6.99.1-1 (", "unpacking linux-image-"} {
		if !strings.Contains(progress.String(), want) {
			t.Errorf("progress has no %q:\n%s", want, progress.String())
		}
	}
	if entries, _ := os.ReadDir(filepath.Join(cache, "packages")); len(entries) != 1 {
		t.Errorf("packages holds %v, want the kernel's alone", entries)
	}
}

func TestAptFailures(t *testing.T) {
	t.Run("no such package", func(t *testing.T) {
		privateCache(t)
		dir, conf := repository(t)
		if err := os.WriteFile(filepath.Join(dir, "Packages"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := kernelSource{aptConf: conf}.kernel(context.Background())
		wantError(t, err, "guest kernel: package "+kernelMetapackage, "apt sources do not have it", "-k KERNEL")
	})
	t.Run("lists unreachable", func(t *testing.T) {
		privateCache(t)
		dir, conf := repository(t)
		if err := os.Remove(filepath.Join(dir, "Packages")); err != nil {
			t.Fatal(err)
		}
		_, err := kernelSource{aptConf: conf}.kernel(context.Background())
		wantError(t, err, "guest kernel: the lists of packages could not be downloaded: ", "Packages")
	})
	t.Run("package unreachable", func(t *testing.T) {
		cache := privateCache(t)
		dir, conf := repository(t)
		if err := os.Remove(filepath.Join(dir, "linux-image-"+testRelease+"_6.99.1-1_amd64.deb")); err != nil {
			t.Fatal(err)
		}
		_, err := kernelSource{aptConf: conf}.kernel(context.Background())
		wantError(t, err, "guest kernel: download linux-image-"+testRelease+": apt: ")
		if entries, _ := os.ReadDir(filepath.Join(cache, "packages")); len(entries) != 0 {
			t.Errorf("packages holds %v after a failure", entries)
		}
	})
	t.Run("package altered", func(t *testing.T) {
		privateCache(t)
		dir, conf := repository(t)
		if err := os.WriteFile(filepath.Join(dir, "linux-image-"+testRelease+"_6.99.1-1_amd64.deb"), []byte("something else"), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := kernelSource{aptConf: conf}.kernel(context.Background())
		wantError(t, err, "guest kernel: download linux-image-"+testRelease+": apt: ")
	})
	t.Run("no apt", func(t *testing.T) {
		privateCache(t)
		t.Setenv("PATH", t.TempDir())
		_, err := Kernel(context.Background(), nil)
		wantError(t, err, "no apt-get on this machine", "-k KERNEL")
	})
}

func TestLastComplaint(t *testing.T) {
	for text, want := range map[string]string{
		"": "",
		"W: Failed to fetch http://x/  Temporary failure resolving 'x'\nW: Some index files failed to download. They have been ignored, or old ones used instead.\n": "Failed to fetch http://x/  Temporary failure resolving 'x'",
		"W: one\nE: two\nW: three\n": "two",
		"N: notice\n":                "",
	} {
		if got := lastComplaint(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestParseDownloadStatus(t *testing.T) {
	if p, ok := parseDownloadStatus("dlstatus:7:90.1212:Retrieving file 7 of 9 (3s remaining)"); !ok || p != 90.1212 {
		t.Errorf("got %v, %v", p, ok)
	}
	for _, line := range []string{"", "dlstatus:1", "pmstatus:x:1:2", "dlstatus:1:x:y"} {
		if _, ok := parseDownloadStatus(line); ok {
			t.Errorf("%q was taken for a status", line)
		}
	}
}
