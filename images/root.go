package images

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"doorbell/internal/deb"
)

// A RootRecipe is a folder of programs of one of Debian's suites, which need not be the machine's: packages with what they depend on, unpacked
// and nothing else. None of their scripts runs; a program in it is started by its own dynamic linker.
type RootRecipe struct {
	Name     string // of its entry of the cache
	Suite    string
	Packages []string
	// Keep are the beginnings of the paths, relative to the root, of the files that are kept.
	Keep []string
}

// Root returns the folder of a recipe. It comes from the cache when it is there, otherwise from the machine's mirrors, with the keys that the
// machine trusts; what is going on is written to progress, which may be nil. Processes that ask at the same time share one download.
func Root(ctx context.Context, r RootRecipe, progress io.Writer) (string, error) {
	return r.root(ctx, "", progress)
}

// root is Root with configuration that is added to apt's.
func (r RootRecipe) root(ctx context.Context, aptConf string, progress io.Writer) (string, error) {
	roots, err := cachePath("roots")
	if err != nil {
		return "", err
	}
	dir := filepath.Join(roots, r.entry())
	if isDir(dir) {
		return dir, nil
	}
	unlock, err := lockCache(ctx, "roots", func() {
		if progress != nil {
			fmt.Fprintf(progress, "waiting for another process that downloads %s\n", r.Name)
		}
	})
	if err != nil {
		return "", err
	}
	defer unlock()
	if isDir(dir) {
		return dir, nil
	}
	// With the lock held, whatever is temporary was left by a process that did not end well.
	removeOld(roots, time.Now(), isTemporary)
	tmp, err := os.MkdirTemp(roots, temporary)
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	if err := r.assemble(ctx, tmp, aptConf, progress); err != nil {
		return "", fmt.Errorf("%s of Debian's %s: %w", r.Name, r.Suite, err)
	}
	return dir, os.Rename(filepath.Join(tmp, "root"), dir)
}

// entry names what the recipe makes: another recipe of the same name has a folder of its own.
func (r RootRecipe) entry() string {
	sum := sha256.Sum256([]byte(strings.Join(slices.Concat([]string{"1", r.Suite}, r.Packages, r.Keep), " ")))
	return r.Name + "+" + hex.EncodeToString(sum[:4])
}

// assemble makes the folder root below tmp.
func (r RootRecipe) assemble(ctx context.Context, tmp, aptConf string, progress io.Writer) error {
	a, err := newApt(filepath.Join(tmp, "apt"), aptConf, progress)
	if err != nil {
		return err
	}
	if err := a.useSuite(ctx, r.Suite); err != nil {
		return err
	}
	failure, err := a.update(ctx)
	if err != nil {
		return err
	}
	packages := filepath.Join(tmp, "packages")
	if err := os.Mkdir(packages, 0o755); err != nil {
		return err
	}
	if err := a.downloadAll(ctx, packages, r.Name, r.Packages); err != nil {
		if failure != "" {
			return fmt.Errorf("the lists of packages could not be downloaded: %s", failure)
		}
		return err
	}
	return r.unpack(ctx, packages, filepath.Join(tmp, "root"), progress)
}

// downloadAll fetches packages and what they depend on, verified, into the folder dir.
func (a *apt) downloadAll(ctx context.Context, dir, what string, names []string) error {
	all, err := a.dependencies(ctx, names)
	if err != nil {
		return err
	}
	t := begin(a.progress, fmt.Sprintf("downloading %s and what it depends on (%d packages)", what, len(all)), 0)
	defer t.done()
	// Unlike install, download leaves a copy of what is in a mirror on this machine.
	stderr, err := a.fetch(ctx, t, dir, append([]string{"download"}, all...)...)
	if err != nil {
		return failure(ctx, "download "+strings.Join(names, ", "), stderr, err)
	}
	return nil
}

// wouldInstall is a line of a simulated installation: "Inst libc6 (2.41-12 Debian:13/stable [amd64])".
var wouldInstall = regexp.MustCompile(`(?m)^Inst (\S+) (?:\[\S+\] )?\((\S+) `)

// dependencies are the packages that installing others on an empty system would install, each as NAME=VERSION.
func (a *apt) dependencies(ctx context.Context, names []string) ([]string, error) {
	cmd := a.command(ctx, "apt-get", append([]string{
		"-o", "Debug::NoLocking=true", // it is the machine's dpkg that would be locked, which has no part in this
		"--simulate", "--no-install-recommends", "install",
	}, names...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, failure(ctx, "find "+strings.Join(names, ", "), stderr.String(), err)
	}
	var all []string
	for _, m := range wouldInstall.FindAllSubmatch(out, -1) {
		all = append(all, string(m[1])+"="+string(m[2]))
	}
	return all, nil
}

// unpack puts what is kept of every package in the folder packages into a new folder root.
func (r RootRecipe) unpack(ctx context.Context, packages, root string, progress io.Writer) error {
	if err := os.Mkdir(root, 0o755); err != nil {
		return err
	}
	all, err := filepath.Glob(filepath.Join(packages, "*.deb"))
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return errors.New("apt-get has left no package")
	}
	t := begin(progress, fmt.Sprintf("unpacking %s (%d packages)", r.Name, len(all)), 0)
	defer t.done()
	for i, pkg := range all {
		if err := ctx.Err(); err != nil {
			return err
		}
		t.at(100 * float64(i) / float64(len(all)))
		if err := r.unpackOne(pkg, root); err != nil {
			return fmt.Errorf("unpack %s: %w", filepath.Base(pkg), err)
		}
	}
	return nil
}

func (r RootRecipe) unpackOne(pkg, root string) error {
	f, err := os.Open(pkg)
	if err != nil {
		return err
	}
	defer f.Close()
	return deb.ExtractLinked(f, root, deb.DefaultLimits, func(e deb.Entry) (string, bool) {
		return e.Name, slices.ContainsFunc(r.Keep, func(prefix string) bool { return strings.HasPrefix(e.Name, prefix) })
	})
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
