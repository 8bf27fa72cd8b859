package lab

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"doorbell/internal/cpio"
)

// A tree is what L1's root folder will hold, by absolute path without
// symbolic links in its folders. It mirrors this machine: a folder that is a
// symbolic link here (/bin, often) is the same link in L1, so that every path
// means there what it means here.
type tree struct {
	nodes map[string]node
	size  int64 // of all regular files
}

// node is one entry: a folder, a symbolic link, a device, or a regular file
// with either its content or the path on this machine that has it.
type node struct {
	mode         fs.FileMode
	target       string
	host         string
	size         int64
	content      []byte
	major, minor uint32
}

func newTree() *tree { return &tree{nodes: map[string]node{}} }

// errNotCarried is what mirror says of paths below folders that the kernel
// fills, in L1 as well as here.
var errNotCarried = errors.New("is not carried: the kernel provides it")

// kernelFolders hold no files that could travel.
var kernelFolders = []string{"/dev", "/proc", "/sys"}

func below(name, dir string) bool {
	return name == dir || dir == "/" || strings.HasPrefix(name, dir+"/")
}

func inKernelFolder(name string) bool {
	return slices.ContainsFunc(kernelFolders, func(dir string) bool { return below(name, dir) })
}

// mirror puts the existing absolute path name into the tree, with every
// folder and link on the way: a regular file with its content, a folder
// empty. It returns the path without links. Other kinds of files are an error.
func (t *tree) mirror(name string) (string, error) {
	const maxLinks = 40 // the kernel's MAXSYMLINKS
	name = filepath.Clean(name)
	rest := splitPath(name)
	at := "/"
	for links := 0; len(rest) > 0; {
		element := rest[0]
		rest = rest[1:]
		if element == ".." {
			at = filepath.Dir(at)
			continue
		}
		next := filepath.Join(at, element)
		if inKernelFolder(next) {
			return "", fmt.Errorf("%s: %w", name, errNotCarried)
		}
		info, err := os.Lstat(next)
		if err != nil {
			return "", err
		}
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			if links++; links > maxLinks {
				return "", fmt.Errorf("%s: too many symbolic links", name)
			}
			target, err := os.Readlink(next)
			if err != nil {
				return "", err
			}
			t.nodes[next] = node{mode: fs.ModeSymlink, target: target}
			if filepath.IsAbs(target) {
				at = "/"
			}
			rest = append(splitPath(target), rest...)
			continue
		case info.IsDir():
			if _, ok := t.nodes[next]; !ok {
				t.nodes[next] = node{mode: fs.ModeDir | info.Mode().Perm() | info.Mode()&fs.ModeSticky}
			}
		case info.Mode().IsRegular() && len(rest) == 0:
			t.file(next, next, info)
		default:
			return "", fmt.Errorf("%s: %s is neither a regular file nor a folder", name, next)
		}
		at = next
	}
	return at, nil
}

func splitPath(name string) []string {
	return strings.FieldsFunc(name, func(r rune) bool { return r == '/' })
}

// file puts the regular file host at name.
func (t *tree) file(name, host string, info fs.FileInfo) {
	if old, ok := t.nodes[name]; ok {
		t.size -= old.size
	}
	t.nodes[name] = node{mode: info.Mode().Perm(), host: host, size: info.Size()}
	t.size += info.Size()
}

// content puts a regular file with that content at name.
func (t *tree) content(name string, mode fs.FileMode, content []byte) {
	t.nodes[name] = node{mode: mode, content: content, size: int64(len(content))}
	t.size += int64(len(content))
}

// mirrorAll puts a folder of this machine with everything below it into the
// tree; what is neither file, folder nor link is left out.
func (t *tree) mirrorAll(dir string) error {
	return filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch {
		case entry.Type()&fs.ModeSymlink != 0:
			if _, err := t.mirror(filepath.Dir(name)); err != nil {
				return err
			}
			target, err := os.Readlink(name)
			if err != nil {
				return err
			}
			t.nodes[name] = node{mode: fs.ModeSymlink, target: target}
			// The link's end travels along when it is there: links into other
			// folders of test data are common.
			_, _ = t.mirror(name)
			return nil
		case entry.IsDir(), entry.Type().IsRegular():
			_, err := t.mirror(name)
			return err
		}
		return nil
	})
}

// write writes the tree as a cpio archive. Sorted paths put every folder
// before what is in it.
func (t *tree) write(w io.Writer) error {
	archive := cpio.NewWriter(w)
	for _, name := range slices.Sorted(maps.Keys(t.nodes)) {
		n := t.nodes[name]
		var err error
		switch {
		case n.mode.IsDir():
			err = archive.Dir(name, n.mode)
		case n.mode&fs.ModeSymlink != 0:
			err = archive.Symlink(name, n.target)
		case n.mode&fs.ModeDevice != 0:
			err = archive.Device(name, n.mode, n.major, n.minor)
		case n.host == "":
			err = archive.File(name, n.mode, n.size, bytes.NewReader(n.content))
		default:
			err = copyFile(archive, name, n)
		}
		if err != nil {
			return err
		}
	}
	return archive.Close()
}

func copyFile(archive *cpio.Writer, name string, n node) error {
	f, err := os.Open(n.host)
	if err != nil {
		return err
	}
	defer f.Close()
	return archive.File(name, n.mode, n.size, f)
}
