package images

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// kernelHeaders is what modules are built with, unpacked from Debian's packages.
type kernelHeaders struct {
	build  string // the folder of the flavour: its configuration and symbols
	common string // the folder of all flavours: headers and makefiles
}

// headers returns the headers of a kernel. They come from the cache when they are there, otherwise from the machine's package sources, some 14 MB.
func (s kernelSource) headers(ctx context.Context, k *KernelSet) (kernelHeaders, error) {
	all, err := cachePath("headers")
	if err != nil {
		return kernelHeaders{}, err
	}
	root := filepath.Join(all, k.Version)
	if isDir(root) {
		return findHeaders(root, k.Version)
	}
	unlock, err := lockCache(ctx, "headers", func() {
		if s.progress != nil {
			fmt.Fprintln(s.progress, "waiting for another process that downloads kernel headers")
		}
	})
	if err != nil {
		return kernelHeaders{}, err
	}
	defer unlock()
	if isDir(root) {
		return findHeaders(root, k.Version)
	}
	// With the lock held, whatever is temporary was left by a process that did not end well.
	removeOld(all, time.Now(), isTemporary)
	tmp, err := os.MkdirTemp(all, temporary)
	if err != nil {
		return kernelHeaders{}, err
	}
	defer os.RemoveAll(tmp)
	packages, unpacked := filepath.Join(tmp, "packages"), filepath.Join(tmp, "root")
	if err := errors.Join(os.Mkdir(packages, 0o755), os.Mkdir(unpacked, 0o755)); err != nil {
		return kernelHeaders{}, err
	}
	if err := s.downloadHeaders(ctx, k.Version, filepath.Join(tmp, "apt"), packages); err != nil {
		return kernelHeaders{}, err
	}
	if err := s.unpackHeaders(ctx, packages, unpacked); err != nil {
		return kernelHeaders{}, err
	}
	if _, err := findHeaders(unpacked, k.Version); err != nil {
		return kernelHeaders{}, err
	}
	if err := os.Rename(unpacked, root); err != nil {
		return kernelHeaders{}, err
	}
	return findHeaders(root, k.Version)
}

// downloadHeaders fetches the package of a release's headers, and those that it depends on which have headers, makefiles or programs for the build.
// The compiler, which it names as well, is the machine's.
func (s kernelSource) downloadHeaders(ctx context.Context, release, aptDir, dir string) error {
	a, err := newApt(aptDir, s.aptConf, s.progress)
	if err == nil && s.release.Suite != "" {
		err = a.useSuite(ctx, s.release.Suite)
	}
	if err != nil {
		return err
	}
	failure, err := a.update(ctx)
	if err != nil {
		return err
	}
	main, err := a.show(ctx, "linux-headers-"+release)
	if errors.Is(err, errNoPackage) {
		if failure != "" {
			return fmt.Errorf("the lists of packages could not be downloaded: %s", failure)
		}
		return errNoHeaders
	}
	if err != nil {
		return err
	}
	wanted := []stanza{main}
	for dependency := range strings.SplitSeq(main["Depends"], ",") {
		name, _, _ := strings.Cut(strings.TrimSpace(dependency), " ")
		if !strings.HasPrefix(name, "linux-headers-") && !strings.HasPrefix(name, "linux-kbuild-") {
			continue
		}
		p, err := a.show(ctx, name)
		if err != nil {
			return fmt.Errorf("package %s: %w", name, err)
		}
		wanted = append(wanted, p)
	}
	for _, p := range wanted {
		if err := a.download(ctx, dir, p); err != nil {
			return err
		}
	}
	return nil
}

func (s kernelSource) unpackHeaders(ctx context.Context, packages, root string) error {
	all, err := filepath.Glob(filepath.Join(packages, "*.deb"))
	if err != nil {
		return err
	}
	t := begin(s.progress, "unpacking kernel headers", 0)
	defer t.done()
	for i, pkg := range all {
		if err := ctx.Err(); err != nil {
			return err
		}
		t.at(100 * float64(i) / float64(len(all)))
		keep := RootRecipe{Keep: []string{"usr/src/", "usr/lib/linux-kbuild-"}}
		if err := keep.unpackOne(pkg, root); err != nil {
			return fmt.Errorf("unpack %s: %w", filepath.Base(pkg), err)
		}
	}
	return nil
}

// includesCommon is the Makefile of a flavour's folder, which includes that of all flavours.
var includesCommon = regexp.MustCompile(`(?m)^include \S*/(linux-headers-[^/\s]+)/Makefile`)

// findHeaders finds the two folders below root.
func findHeaders(root, release string) (kernelHeaders, error) {
	h := kernelHeaders{build: filepath.Join(root, "usr/src/linux-headers-"+release)}
	text, err := os.ReadFile(filepath.Join(h.build, "Makefile"))
	if err != nil {
		return h, fmt.Errorf("headers of Linux %s: %w: remove %s to get them again", release, err, root)
	}
	m := includesCommon.FindSubmatch(text)
	if m == nil {
		return h, fmt.Errorf("headers of Linux %s: their Makefile includes no other: %.80q", release, text)
	}
	h.common = filepath.Join(root, "usr/src", string(m[1]))
	return h, nil
}
