// Package closure finds the files that a program needs to run in a root
// folder of its own: its interpreter and, for a dynamically linked ELF
// executable, its shared libraries, found as ld.so(8) finds them.
package closure

import (
	"bufio"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A Resolver finds the files that programs need. It keeps what it has read of
// the linker's configuration; use one for several programs.
type Resolver struct {
	// Root is prefixed to every path that is opened; results do not have it.
	Root string
	// LibraryPath is the LD_LIBRARY_PATH that the programs will run with.
	LibraryPath string
	// Path is the PATH for scripts that start with "#!/usr/bin/env NAME".
	Path string

	system []string // folders of ld.so.conf, then the linker's own
}

// maxFiles bounds the closure of one program; a large desktop program needs
// about 300 libraries.
const maxFiles = 4096

// Files returns the absolute paths of program, which must be absolute, and of
// everything that it needs, in the order in which they were found.
func (r *Resolver) Files(program string) ([]string, error) {
	c := collection{r: r, seen: map[string]bool{}}
	if err := c.program(program, 0); err != nil {
		return nil, err
	}
	return c.files, nil
}

// collection is the state of one call of Files.
type collection struct {
	r     *Resolver
	files []string
	seen  map[string]bool
}

func (c *collection) add(name string) (first bool, err error) {
	if c.seen[name] {
		return false, nil
	}
	if len(c.files) >= maxFiles {
		return false, fmt.Errorf("%s: needs more than %d files", c.files[0], maxFiles)
	}
	c.seen[name] = true
	c.files = append(c.files, name)
	return true, nil
}

// program adds an executable: an ELF file, a script, or something that the
// kernel will refuse, which is for the kernel to say.
func (c *collection) program(name string, depth int) error {
	// The kernel's own limit is 5 interpreters in a row (search_binary_handler).
	if depth > 5 {
		return fmt.Errorf("%s: interpreters are nested too deeply", name)
	}
	if first, err := c.add(name); !first || err != nil {
		return err
	}
	f, err := os.Open(c.r.host(name))
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s: is not a regular file", name)
	}
	start := make([]byte, 256) // the kernel reads no more of a script's first line
	n, err := io.ReadFull(f, start)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && err != io.EOF {
		return fmt.Errorf("%s: %w", name, err)
	}
	start = start[:n]
	switch {
	case strings.HasPrefix(string(start), "#!"):
		return c.script(name, string(start[2:]), depth)
	case strings.HasPrefix(string(start), elf.ELFMAG):
		return c.elf(name, f, nil, depth)
	}
	return nil
}

// script adds the interpreter in a script's first line, and the program that
// env(1) will look for.
func (c *collection) script(name, line string, depth int) error {
	line, _, _ = strings.Cut(line, "\n")
	fields := strings.Fields(line)
	if len(fields) == 0 || !filepath.IsAbs(fields[0]) {
		return nil
	}
	if err := c.program(fields[0], depth+1); err != nil {
		return fmt.Errorf("%s: interpreter: %w", name, err)
	}
	if filepath.Base(fields[0]) != "env" {
		return nil
	}
	for _, argument := range fields[1:] {
		if strings.HasPrefix(argument, "-") || strings.Contains(argument, "=") {
			continue
		}
		found, err := c.r.LookPath(argument)
		if err != nil {
			return fmt.Errorf("%s: interpreter: %w", name, err)
		}
		return c.program(found, depth+1)
	}
	return nil
}

// LookPath finds an executable named name in the folders of Path.
func (r *Resolver) LookPath(name string) (string, error) {
	for _, dir := range filepath.SplitList(r.Path) {
		found := filepath.Join(dir, name)
		if !filepath.IsAbs(found) {
			continue
		}
		if info, err := os.Stat(r.host(found)); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return found, nil
		}
	}
	return "", fmt.Errorf("%s: not found in PATH", name)
}

func (r *Resolver) host(name string) string { return filepath.Join(r.Root, name) }

// systemFolders returns the folders of /etc/ld.so.conf, which are what
// /etc/ld.so.cache was made from, and the linker's defaults.
func (r *Resolver) systemFolders() []string {
	if r.system == nil {
		r.system = r.configFolders("/etc/ld.so.conf", 0)
		for _, dir := range []string{"/lib64", "/usr/lib64", "/lib", "/usr/lib"} {
			if !slices.Contains(r.system, dir) {
				r.system = append(r.system, dir)
			}
		}
	}
	return r.system
}

// configFolders reads one file in the format of ld.so.conf(5). What cannot be
// read names no folders: a host without the file has only the defaults.
func (r *Resolver) configFolders(name string, depth int) []string {
	const maxDepth = 8
	f, err := os.Open(r.host(name))
	if err != nil || depth > maxDepth {
		return nil
	}
	defer f.Close()
	var dirs []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line, _, _ := strings.Cut(lines.Text(), "#")
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0:
		case fields[0] == "include":
			for _, pattern := range fields[1:] {
				if !filepath.IsAbs(pattern) {
					pattern = filepath.Join(filepath.Dir(name), pattern)
				}
				matches, _ := filepath.Glob(r.host(pattern)) // a bad pattern includes nothing
				for _, match := range matches {
					dirs = append(dirs, r.configFolders("/"+strings.TrimPrefix(match, r.Root), depth+1)...)
				}
			}
		default:
			for _, dir := range fields {
				if filepath.IsAbs(dir) {
					dirs = append(dirs, filepath.Clean(dir))
				}
			}
		}
	}
	return dirs
}
