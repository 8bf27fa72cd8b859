package closure

import (
	"debug/elf"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// object is a loaded ELF file, with those that led to it.
type object struct {
	name   string
	file   *elf.File
	rpath  []string // DT_RPATH, empty when there is a DT_RUNPATH
	loader *object  // the object that needed this one
}

// elf adds what the ELF file named name needs; the file itself is in the
// collection already. A file that is not valid ELF needs nothing that could be
// told: running it will say more.
func (c *collection) elf(name string, r io.ReaderAt, loader *object, depth int) error {
	file, err := elf.NewFile(r)
	if err != nil {
		return nil
	}
	defer file.Close()
	if loader == nil {
		interpreter, err := interpreterOf(file)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if interpreter != "" {
			if err := c.program(interpreter, depth+1); err != nil {
				return fmt.Errorf("%s: interpreter: %w", name, err)
			}
		}
	}
	needed, err := dynamicStrings(file, elf.DT_NEEDED)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if len(needed) == 0 {
		return nil
	}
	o := &object{name: name, file: file, loader: loader}
	runpath, err := o.folders(elf.DT_RUNPATH)
	if err != nil {
		return err
	}
	if len(runpath) == 0 {
		if o.rpath, err = o.folders(elf.DT_RPATH); err != nil {
			return err
		}
	}
	for _, library := range needed {
		if err := c.library(library, o, runpath); err != nil {
			return err
		}
	}
	return nil
}

// library finds one DT_NEEDED of o in the order of ld.so(8): DT_RPATH of the
// object and of those that loaded it, LD_LIBRARY_PATH, DT_RUNPATH, then the
// cache and the default folders.
func (c *collection) library(library string, o *object, runpath []string) error {
	var candidates []string
	if strings.Contains(library, "/") {
		candidates = []string{library}
	} else {
		var dirs []string
		if len(runpath) == 0 {
			for by := o; by != nil; by = by.loader {
				dirs = append(dirs, by.rpath...)
			}
		}
		dirs = append(dirs, strings.FieldsFunc(c.r.LibraryPath, func(r rune) bool { return r == ':' || r == ';' })...)
		dirs = append(dirs, runpath...)
		dirs = append(dirs, c.r.systemFolders()...)
		for _, dir := range dirs {
			candidates = append(candidates, filepath.Join(dir, library))
		}
	}
	for _, candidate := range candidates {
		if !filepath.IsAbs(candidate) {
			continue
		}
		f, err := os.Open(c.r.host(candidate))
		if err != nil {
			continue
		}
		defer f.Close()
		if !sameKind(f, o.file) {
			continue
		}
		if first, err := c.add(candidate); !first || err != nil {
			return err
		}
		return c.elf(candidate, f, o, 0)
	}
	return fmt.Errorf("%s: needs the library %s, which is in none of the folders that ld.so searches", o.name, library)
}

// sameKind tells whether the linker would take f beside other: it passes over
// libraries of other machines and word sizes.
func sameKind(f *os.File, other *elf.File) bool {
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return false
	}
	file, err := elf.NewFile(f)
	if err != nil {
		return false
	}
	return file.Class == other.Class && file.Machine == other.Machine && file.Type == elf.ET_DYN
}

// interpreterOf returns the path in PT_INTERP, or "" for a static executable.
func interpreterOf(file *elf.File) (string, error) {
	const pathMax = 4096
	for _, program := range file.Progs {
		if program.Type != elf.PT_INTERP {
			continue
		}
		if program.Filesz > pathMax {
			return "", fmt.Errorf("PT_INTERP has %d bytes, a path has at most %d", program.Filesz, pathMax)
		}
		b, err := io.ReadAll(program.Open())
		if err != nil {
			return "", fmt.Errorf("PT_INTERP: %w", err)
		}
		name := strings.TrimRight(string(b), "\x00")
		if !filepath.IsAbs(name) || strings.ContainsRune(name, 0) {
			return "", fmt.Errorf("PT_INTERP %.64q is not an absolute path", name)
		}
		return filepath.Clean(name), nil
	}
	return "", nil
}

// folders returns the search path in the dynamic section's tag, with $ORIGIN
// and $LIB replaced.
func (o *object) folders(tag elf.DynTag) ([]string, error) {
	values, err := dynamicStrings(o.file, tag)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.name, err)
	}
	lib := "lib"
	if o.file.Class == elf.ELFCLASS64 {
		lib = "lib64"
	}
	replace := strings.NewReplacer(
		"$ORIGIN", filepath.Dir(o.name), "${ORIGIN}", filepath.Dir(o.name), "$LIB", lib, "${LIB}", lib)
	var dirs []string
	for _, value := range values {
		for _, dir := range strings.Split(value, ":") {
			if dir != "" {
				dirs = append(dirs, replace.Replace(dir))
			}
		}
	}
	return dirs, nil
}

// dynamicStrings returns the strings of a dynamic section's tag.
func dynamicStrings(file *elf.File, tag elf.DynTag) ([]string, error) {
	for _, section := range file.Sections {
		// Loaded sections are never compressed; one that says so could make
		// the reader inflate without bound.
		if section.Flags&elf.SHF_COMPRESSED != 0 && (section.Type == elf.SHT_DYNAMIC || section.Type == elf.SHT_STRTAB) {
			return nil, fmt.Errorf("section %s is compressed", section.Name)
		}
	}
	values, err := file.DynString(tag)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", tag, err)
	}
	return values, nil
}
