package l1

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"doorbell/internal/lab/wire"
)

// roots are the paths that written files come back from: files, or folders
// with everything below. Some need not exist.
type roots []string

// Scratch are L1's own folders: they are not searched for a root above them,
// such as "/", only for roots that are in them.
var Scratch = []string{"/tmp", "/run", "/var/tmp", Folder}

// stamp is what changes whenever a file is written. The change time catches
// writers that put the other times back.
type stamp struct {
	device, inode uint64
	size          int64
	ctime         syscall.Timespec
}

func stampOf(info fs.FileInfo) stamp {
	s := info.Sys().(*syscall.Stat_t) // always this type on Linux
	return stamp{device: s.Dev, inode: s.Ino, size: s.Size, ctime: s.Ctim}
}

// snapshot returns the stamps of all regular files below the roots.
func (r roots) snapshot() (map[string]stamp, error) {
	files := map[string]stamp{}
	err := r.walk(func(name string, info fs.FileInfo) error {
		files[name] = stampOf(info)
		return nil
	})
	return files, err
}

// walk calls visit for every regular file below the roots, once, in a fixed
// order. It does not enter file systems that are mounted below a root: those
// of the kernel have nothing to bring home.
func (r roots) walk(visit func(name string, info fs.FileInfo) error) error {
	for _, root := range r {
		top, err := os.Lstat(root)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("look for written files: %w", err)
		}
		device := stampOf(top).device
		err = filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if !entry.IsDir() && !entry.Type().IsRegular() {
				return nil
			}
			info, err := entry.Info()
			if err != nil {
				return err
			}
			if entry.IsDir() {
				if name != root && (slices.Contains(Scratch, name) || stampOf(info).device != device) {
					return fs.SkipDir
				}
				return nil
			}
			return visit(name, info)
		})
		if err != nil {
			return fmt.Errorf("look for written files: %w", err)
		}
	}
	return nil
}

// sendChanged sends every file that is new or has another stamp than before.
// No process runs any more that could change one meanwhile.
func (r roots) sendChanged(conn *wire.Conn, before map[string]stamp) error {
	return r.walk(func(name string, info fs.FileInfo) error {
		if old, ok := before[name]; ok && old == stampOf(info) {
			return nil
		}
		return sendFile(conn, name, info)
	})
}

func sendFile(conn *wire.Conn, name string, info fs.FileInfo) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	m := wire.FileMessage{Path: []byte(name), Mode: uint32(info.Mode().Perm()), Size: info.Size()}
	if err := conn.SendJSON(wire.File, m); err != nil {
		return err
	}
	// Hides the file's and the connection's own copying: frames have one size.
	reader, writer := struct{ io.Reader }{f}, struct{ io.Writer }{conn.Writer(wire.FileData)}
	if _, err := io.CopyBuffer(writer, reader, make([]byte, wire.Chunk)); err != nil {
		return err
	}
	return conn.Send(wire.FileEnd, nil)
}
