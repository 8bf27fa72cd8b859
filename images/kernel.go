package images

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A KernelSet is a kernel in the cache, ready to use.
type KernelSet struct {
	// Package is the Debian package that it comes from, as NAME_VERSION_ARCH.
	Package string
	// Version is the release, as uname -r prints it.
	Version string
	// Dir is the cache's folder for this kernel; what is derived from the
	// kernel may be kept there too.
	Dir string
	// Vmlinuz is the bzImage and Config the configuration it was built with.
	Vmlinuz string
	Config  string
	// ModuleDir holds the modules that are kept, uncompressed, as NAME.ko.
	ModuleDir string
}

// Kernel returns Debian's kernel for virtual machines. It comes from the cache
// when it is there, otherwise from the machine's package sources, which takes
// some 36 MB of downloads and a few seconds; what is going on is written to
// progress, which may be nil. Processes that ask at the same time share one
// download.
func Kernel(ctx context.Context, progress io.Writer) (*KernelSet, error) {
	return kernelSource{progress: progress}.kernel(ctx)
}

// KernelOf is Kernel for another suite or flavour of Debian than the machine's
// kernel for virtual machines: from the machine's mirrors, with the keys that it
// trusts.
func KernelOf(ctx context.Context, r Release, progress io.Writer) (*KernelSet, error) {
	return kernelSource{release: r, progress: progress}.kernel(ctx)
}

// A kernelSource is how to get a kernel.
type kernelSource struct {
	release  Release
	progress io.Writer
	// aptConf is configuration that is added to apt's.
	aptConf string
}

func (s kernelSource) kernel(ctx context.Context) (*KernelSet, error) {
	set, err := s.cachedKernel()
	if set != nil || err != nil {
		return set, err
	}
	unlock, err := lockCache(ctx, "kernels", func() {
		if s.progress != nil {
			fmt.Fprintln(s.progress, "waiting for another process that downloads the kernel")
		}
	})
	if err != nil {
		return nil, err
	}
	defer unlock()
	if set, err := s.cachedKernel(); set != nil || err != nil {
		return set, err
	}
	pkg, err := s.cachedPackage(ctx)
	if err != nil {
		s.forget()
		return nil, fmt.Errorf("guest kernel%s: %w", s.of(), err)
	}
	kernels, err := s.cachePath("kernels")
	if err != nil {
		return nil, err
	}
	if err := unpackPackage(ctx, pkg, kernels, s.progress); err != nil {
		return nil, fmt.Errorf("guest kernel%s: %w", s.of(), err)
	}
	set, err = s.cachedKernel()
	if set == nil && err == nil {
		err = fmt.Errorf("guest kernel: %s vanished from the cache", filepath.Base(pkg))
	}
	return set, err
}

// cachePath is a folder of the cache.
func (s kernelSource) cachePath(name string) (string, error) {
	return cachePath(s.release.folder(name))
}

// forget removes the folders that were made for another suite or flavour which
// gave nothing, such as a suite that does not exist.
func (s kernelSource) forget() {
	if s.release.folder("") == "" {
		return
	}
	root, err := cachePath("")
	if err != nil {
		return
	}
	folder := filepath.Join(root, s.release.folder(""))
	os.RemoveAll(filepath.Join(folder, "apt"))
	for _, name := range []string{"packages", "kernels"} {
		os.Remove(filepath.Join(folder, name)) // if it is empty, and so are those around it
	}
	for ; folder != root; folder = filepath.Dir(folder) {
		os.Remove(folder)
	}
}

// of names the suite and the flavour in errors.
func (s kernelSource) of() (of string) {
	if s.release.Realtime {
		of = " with PREEMPT_RT"
	}
	if s.release.Suite != "" {
		of += " of Debian's " + s.release.Suite
	}
	return of
}

// recipe names what unpackPackage makes of a package: a program that keeps other
// modules makes a folder of its own.
func recipe() string {
	sum := sha256.Sum256([]byte("1 " + strings.Join(keptModules, " ")))
	return "+" + hex.EncodeToString(sum[:4])
}

// cachedKernel returns nil when no kernel is cached.
func (s kernelSource) cachedKernel() (*KernelSet, error) {
	kernels, err := s.cachePath("kernels")
	if err != nil {
		return nil, err
	}
	dir, err := newest(kernels, func(name string) bool { return strings.HasSuffix(name, recipe()) })
	if dir == "" || err != nil {
		return nil, err
	}
	release, err := os.ReadFile(filepath.Join(dir, releaseFile))
	if err != nil {
		return nil, fmt.Errorf("guest kernel: %w: remove %s to get it again", err, dir)
	}
	return &KernelSet{
		Package:   strings.TrimSuffix(filepath.Base(dir), recipe()),
		Version:   strings.TrimSpace(string(release)),
		Dir:       dir,
		Vmlinuz:   filepath.Join(dir, "vmlinuz"),
		Config:    filepath.Join(dir, "config"),
		ModuleDir: filepath.Join(dir, "modules"),
	}, nil
}

// cachedPackage returns the path of the kernel's package, after downloading it
// if need be. The caller holds the cache's lock.
func (s kernelSource) cachedPackage(ctx context.Context) (string, error) {
	packages, err := s.cachePath("packages")
	if err != nil {
		return "", err
	}
	isPackage := func(name string) bool {
		return strings.HasPrefix(name, "linux-image-") && strings.HasSuffix(name, ".deb")
	}
	if path, err := newest(packages, isPackage); path != "" || err != nil {
		return path, err
	}
	// With the lock held, whatever is temporary was left by a process that
	// did not end well.
	removeOld(packages, time.Now(), isTemporary)
	dir, err := os.MkdirTemp(packages, temporary)
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	if err := s.downloadKernel(ctx, dir); err != nil {
		return "", err
	}
	deb, err := newest(dir, isPackage)
	if err != nil {
		return "", err
	}
	if deb == "" {
		return "", fmt.Errorf("apt-get left no package in %s", dir)
	}
	if err := syncFile(deb); err != nil {
		return "", err
	}
	path := filepath.Join(packages, filepath.Base(deb))
	return path, os.Rename(deb, path)
}

// downloadKernel puts the package that the metapackage stands for into dir.
func (s kernelSource) downloadKernel(ctx context.Context, dir string) error {
	aptDir, err := s.cachePath("apt")
	if err != nil {
		return err
	}
	a, err := newApt(aptDir, s.aptConf, s.progress)
	if err == nil && s.release.Suite != "" {
		err = a.useSuite(ctx, s.release.Suite)
	}
	if err != nil {
		return fmt.Errorf("%w: pass -k KERNEL", err)
	}
	failure, err := a.update(ctx)
	if err != nil {
		return err
	}
	p, err := a.kernelPackage(ctx, s.release.metapackage())
	if err != nil {
		if failure != "" {
			return fmt.Errorf("the lists of packages could not be downloaded: %s", failure)
		}
		return err
	}
	if err := a.download(ctx, dir, p); err != nil {
		return err
	}
	os.RemoveAll(aptDir) // tens of megabytes that are stale by the next time
	return nil
}

// kernelPackage returns what the metapackage depends on: its name changes with
// each of Debian's kernel updates.
func (a *apt) kernelPackage(ctx context.Context, metapackage string) (stanza, error) {
	meta, err := a.show(ctx, metapackage)
	if err != nil {
		return nil, fmt.Errorf("package %s: %w: pass -k KERNEL", metapackage, err)
	}
	for dependency := range strings.SplitSeq(meta["Depends"], ",") {
		if name, _, _ := strings.Cut(strings.TrimSpace(dependency), " "); strings.HasPrefix(name, "linux-image-") {
			p, err := a.show(ctx, name)
			if err != nil {
				return nil, fmt.Errorf("package %s: %w: pass -k KERNEL", name, err)
			}
			// Debian 14 has the image and the modules in packages of their own.
			if strings.Contains(p["Depends"], "linux-binary-") || strings.Contains(p["Depends"], "linux-modules-") {
				return nil, fmt.Errorf("package %s has no kernel in it but depends on several that have: pass -k KERNEL", name)
			}
			return p, nil
		}
	}
	return nil, fmt.Errorf("package %s depends on no linux-image-*: %.200q", metapackage, meta["Depends"])
}

// syncFile makes a file's content durable before its name is.
func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
