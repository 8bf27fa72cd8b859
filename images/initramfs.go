package images

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"doorbell/internal/cpio"
	"doorbell/internal/kmod"
)

// InitramfsConfig is what goes into an initramfs.
type InitramfsConfig struct {
	// Agent is the program that becomes /init.
	Agent string
	// Modules are loaded in this order, whatever devices there are.
	Modules []Module
	// DeviceModules are loaded when a device that they drive is there, or
	// when another module needs them.
	DeviceModules []Module
	// Extra are further files.
	Extra []InitramfsFile
}

// An InitramfsFile is a file of the host that is copied.
type InitramfsFile struct {
	// Name is the path in the guest.
	Name string
	// Path is the file on the host.
	Path string
	Mode fs.FileMode
}

// ManifestPath is where the guest finds the list of its modules, in the form
// of package kmod.
const ManifestPath = "/etc/doorbell/modules"

// initramfsRecipe changes when the same inputs give another archive.
const initramfsRecipe = "doorbell initramfs 1"

// initramfsKept is how long an archive that nobody asks for stays.
const initramfsKept = 14 * 24 * time.Hour

// Initramfs returns the path of an uncompressed newc archive with the agent as
// /init. Equal inputs give equal bytes, from the cache when they are there. It
// is not compressed because the guest would spend more time on it than the
// host spends on copying.
func Initramfs(ctx context.Context, c InitramfsConfig) (string, error) {
	plan, err := c.plan()
	if err != nil {
		return "", fmt.Errorf("initramfs: %w", err)
	}
	key, err := plan.hash(ctx)
	if err != nil {
		return "", fmt.Errorf("initramfs: %w", err)
	}
	dir, err := cachePath("initramfs")
	if err != nil {
		return "", fmt.Errorf("initramfs: %w", err)
	}
	path := filepath.Join(dir, key[:32]+".cpio")
	now := time.Now()
	if os.Chtimes(path, now, now) == nil {
		return path, nil
	}
	removeOld(dir, now.Add(-initramfsKept), func(string) bool { return true })
	if err := plan.build(ctx, path, key); err != nil {
		return "", fmt.Errorf("initramfs: %w", err)
	}
	return path, nil
}

// initramfsPlan is the archive before its content is read: a pure function of
// the configuration.
type initramfsPlan struct {
	manifest string
	files    []InitramfsFile
}

func (c InitramfsConfig) plan() (*initramfsPlan, error) {
	if c.Agent == "" {
		return nil, errors.New("no agent to be /init")
	}
	p := &initramfsPlan{files: []InitramfsFile{{"/init", c.Agent, 0o755}}}
	var manifest kmod.Manifest
	seen := map[string]int{}
	add := func(m Module, always bool) {
		if i, ok := seen[m.Name]; ok {
			manifest[i].Always = manifest[i].Always || always
			return
		}
		seen[m.Name] = len(manifest)
		e := kmod.Entry{Name: m.Name, Path: "/lib/modules/" + m.Name + ".ko", Needs: m.Needs, Aliases: m.Aliases, Always: always}
		manifest = append(manifest, e)
		p.files = append(p.files, InitramfsFile{e.Path, m.Path, 0o644})
	}
	for _, m := range c.Modules {
		add(m, true)
	}
	for _, m := range c.DeviceModules {
		add(m, false)
	}
	p.manifest = manifest.String()
	if _, err := kmod.Parse(p.manifest); err != nil {
		return nil, err
	}
	p.files = append(p.files, c.Extra...)
	return p, nil
}

// hash names the archive: it covers everything that build writes.
func (p *initramfsPlan) hash(ctx context.Context) (string, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%q\n", initramfsRecipe, p.manifest)
	for _, f := range p.files {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		r, size, err := f.open()
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%q %o %d\n", f.Name, f.Mode.Perm(), size)
		n, err := io.Copy(h, r)
		r.Close()
		if err != nil {
			return "", err
		}
		if n != size {
			return "", fmt.Errorf("%s changed while it was read", f.Path)
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// build writes the archive and renames it to path. key is what hash returned:
// a file that changed since then must not get into the cache under it.
func (p *initramfsPlan) build(ctx context.Context, path, key string) error {
	out, err := os.CreateTemp(filepath.Dir(path), temporary)
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	buffered := bufio.NewWriterSize(out, 1<<18)
	if err := p.write(ctx, buffered); err != nil {
		return err
	}
	if err := buffered.Flush(); err != nil {
		return err
	}
	if again, err := p.hash(ctx); err != nil || again != key {
		return errors.Join(errors.New("a file changed while it was copied"), err)
	}
	if err := out.Chmod(0o644); err != nil {
		return err
	}
	if err := out.Sync(); err != nil {
		return err
	}
	return os.Rename(out.Name(), path)
}

func (p *initramfsPlan) write(ctx context.Context, out io.Writer) error {
	w := cpio.NewWriter(out)
	for _, dir := range []struct {
		name string
		mode fs.FileMode
	}{{"/dev", 0o755}, {"/proc", 0o755}, {"/sys", 0o755}, {"/run", 0o755}, {"/tmp", 0o777 | fs.ModeSticky}} {
		if err := w.Dir(dir.name, dir.mode); err != nil {
			return err
		}
	}
	// The kernel opens /dev/console for init before anything is mounted.
	character := fs.ModeDevice | fs.ModeCharDevice
	if err := w.Device("/dev/console", 0o600|character, 5, 1); err != nil {
		return err
	}
	if err := w.Device("/dev/null", 0o666|character, 1, 3); err != nil {
		return err
	}
	for _, f := range p.files {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := f.copyTo(w); err != nil {
			return err
		}
	}
	if err := w.File(ManifestPath, 0o644, int64(len(p.manifest)), strings.NewReader(p.manifest)); err != nil {
		return err
	}
	return w.Close()
}

func (f InitramfsFile) copyTo(w *cpio.Writer) error {
	r, size, err := f.open()
	if err != nil {
		return err
	}
	defer r.Close()
	return w.File(f.Name, f.Mode.Perm(), size, r)
}

// open opens the host's file, which must be a regular one.
func (f InitramfsFile) open() (*os.File, int64, error) {
	r, err := os.Open(f.Path)
	if err != nil {
		return nil, 0, err
	}
	st, err := r.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", f.Path)
	}
	if err != nil {
		r.Close()
		return nil, 0, err
	}
	return r, st.Size(), nil
}
