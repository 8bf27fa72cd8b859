package deb

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Extract writes the regular files that want selects into the folder dir, which
// must exist. want maps an entry to the path below dir that it gets; ok false
// leaves it out. Folders on the way are made. No path and no link can lead
// outside dir; a file that exists is an error.
//
// After an error dir holds some of the files: extract into a new folder and
// rename that.
func Extract(r io.Reader, dir string, limits Limits, want func(e Entry) (dest string, ok bool)) error {
	return extract(r, dir, limits, false, want)
}

// ExtractLinked is Extract with the symbolic links that want selects, such as those of shared libraries. Where one leads is its reader's business; a
// file is never written through one that leads outside dir. Hard links are left out.
func ExtractLinked(r io.Reader, dir string, limits Limits, want func(e Entry) (dest string, ok bool)) error {
	return extract(r, dir, limits, true, want)
}

func extract(r io.Reader, dir string, limits Limits, links bool, want func(e Entry) (dest string, ok bool)) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("deb: %w", err)
	}
	defer root.Close()
	return Walk(r, limits, func(e Entry, content io.Reader) error {
		link := links && e.Mode.Type() == fs.ModeSymlink
		if !link && (!e.Mode.IsRegular() || e.Target != "") {
			return nil
		}
		dest, ok := want(e)
		if !ok {
			return nil
		}
		write := writeFile
		if link {
			write = writeLink
		}
		if err := write(root, dest, e, content); err != nil {
			return fmt.Errorf("deb: extract %q: %w", e.Name, oneLine(err))
		}
		return nil
	})
}

func writeFile(root *os.Root, dest string, e Entry, content io.Reader) error {
	if err := root.MkdirAll(filepath.Dir(dest), 0o755); err != nil {
		return err
	}
	f, err := root.OpenFile(dest, os.O_WRONLY|os.O_CREATE|os.O_EXCL, e.Mode.Perm()&0o755|0o600)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, content); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

func writeLink(root *os.Root, dest string, e Entry, _ io.Reader) error {
	if err := root.MkdirAll(filepath.Dir(dest), 0o755); err != nil {
		return err
	}
	return root.Symlink(e.Target, dest)
}
