package images

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"doorbell/internal/deb"

	"github.com/xi2/xz"
	"golang.org/x/sys/unix"
)

const (
	releaseFile = "release"
	// maxModule bounds one module, decompressed; the largest of Debian's
	// has some 10 MiB.
	maxModule = 256 << 20
	// maxDictionary bounds the memory of a module's decompressor: "xz -9".
	maxDictionary = 64 << 20
)

// unpackPackage unpacks the package at pkg into a new entry of the cache's
// folder kernels. The caller holds the cache's lock.
func unpackPackage(ctx context.Context, pkg, kernels string, progress io.Writer) error {
	f, err := os.Open(pkg)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	removeOld(kernels, time.Now(), isTemporary)
	dir, err := os.MkdirTemp(kernels, temporary)
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}

	name := strings.TrimSuffix(filepath.Base(pkg), ".deb")
	t := begin(progress, "unpacking "+name, st.Size())
	defer t.done()
	u := unpacker{dir: dir, modules: filepath.Join(dir, "modules"), info: map[string]modinfo{}}
	if err := u.run(ctx, t.reader(f)); err != nil {
		var pathError *fs.PathError
		if ctx.Err() != nil || errors.As(err, &pathError) {
			return fmt.Errorf("unpack %s: %w", name, err)
		}
		return fmt.Errorf("unpack %s: %w: remove %s to download it again", name, err, pkg)
	}
	return os.Rename(dir, filepath.Join(kernels, name+recipe()))
}

// An unpacker sorts a kernel package's files into the folder dir.
type unpacker struct {
	dir, modules string
	release      string
	info         map[string]modinfo // of every module of the package
}

func (u *unpacker) run(ctx context.Context, r io.Reader) error {
	if err := os.Mkdir(u.modules, 0o755); err != nil {
		return err
	}
	err := deb.Walk(r, deb.DefaultLimits, func(e deb.Entry, content io.Reader) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !e.Mode.IsRegular() || e.Target != "" {
			return nil
		}
		return u.file(e, content)
	})
	if err != nil {
		return err
	}
	if u.release == "" {
		return errors.New("no boot/vmlinuz-* in it")
	}
	for _, required := range []string{"config", modulesBuiltin} {
		if _, err := os.Stat(filepath.Join(u.dir, required)); err != nil {
			return fmt.Errorf("no %s in it", required)
		}
	}
	if err := u.prune(); err != nil {
		return err
	}
	if err := u.write(releaseFile, strings.NewReader(u.release+"\n")); err != nil {
		return err
	}
	return u.sync()
}

// sync makes the files durable before the folder gets its name.
func (u *unpacker) sync() error {
	d, err := os.Open(u.dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return fmt.Errorf("sync %s: %w", u.dir, err)
	}
	return nil
}

// file keeps one of the package's files, or leaves it.
func (u *unpacker) file(e deb.Entry, content io.Reader) error {
	base := path.Base(e.Name)
	inBoot := path.Dir(e.Name) == "boot"
	// Releases of Debian with a merged /usr keep modules below usr/lib.
	inModules := strings.HasPrefix(strings.TrimPrefix(e.Name, "usr/"), "lib/modules/")
	switch {
	case inBoot && strings.HasPrefix(base, "vmlinuz-"):
		if u.release != "" {
			return errors.New("two kernels in it")
		}
		u.release = strings.TrimPrefix(base, "vmlinuz-")
		return u.write("vmlinuz", content)
	case inBoot && strings.HasPrefix(base, "config-"):
		return u.write("config", content)
	case inModules && base == modulesBuiltin:
		return u.write(modulesBuiltin, content)
	case inModules:
		if name, ok := moduleName(base); ok {
			if err := u.module(name, strings.HasSuffix(base, ".xz"), content); err != nil {
				return fmt.Errorf("%s: %w", e.Name, err)
			}
		}
	}
	return nil
}

// module writes a module, decompressed. Which modules are needed is known when
// all have been read.
func (u *unpacker) module(name string, compressed bool, content io.Reader) error {
	if compressed {
		z, err := xz.NewReader(content, maxDictionary)
		if err != nil {
			return err
		}
		content = z
	}
	b, err := io.ReadAll(io.LimitReader(content, maxModule+1))
	if err != nil {
		return err
	}
	if len(b) > maxModule {
		return fmt.Errorf("has more than %d bytes", maxModule)
	}
	if u.info[name], err = readModinfo(bytes.NewReader(b)); err != nil {
		return err
	}
	return u.write(filepath.Join("modules", name+".ko"), bytes.NewReader(b))
}

// prune removes the modules that are not in keptModules and that none of those
// needs.
func (u *unpacker) prune() error {
	wanted := slices.DeleteFunc(slices.Clone(keptModules), func(name string) bool {
		_, ok := u.info[name]
		return !ok
	})
	order, err := closure(wanted, func(name string) (modinfo, error) {
		info, ok := u.info[name]
		if !ok {
			return modinfo{}, errSkip // built in
		}
		return info, nil
	})
	if err != nil {
		return err
	}
	keep := map[string]bool{}
	for _, m := range order {
		keep[m.name] = true
	}
	for name := range u.info {
		if !keep[name] {
			if err := os.Remove(filepath.Join(u.modules, name+".ko")); err != nil {
				return err
			}
		}
	}
	return nil
}

// write makes a file in dir; a second one of the same name is an error.
func (u *unpacker) write(name string, content io.Reader) error {
	f, err := os.OpenFile(filepath.Join(u.dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, content); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
