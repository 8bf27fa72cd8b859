package kvm

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A Module is the part of KVM that drives one maker's processors, as a kernel module that can be taken out and put in again with other parameters.
type Module struct {
	Name string // as below /sys/module
	// Virtualizes is its parameter for local APICs that the processor virtualizes: Intel's APICv, AMD's AVIC.
	Virtualizes string
	path        string
	parameters  map[string]string // as they were when it was found
}

const reloading = "loading KVM's module again"

// FindModule returns the module that is loaded, or a *NotSupportedError with the reason why it cannot be loaded again.
func FindModule() (*Module, error) {
	lacks := func(format string, args ...any) error {
		return &NotSupportedError{Feature: reloading, Reason: fmt.Sprintf(format, args...)}
	}
	name := strings.ReplaceAll(Backend(), "-", "_")
	m := &Module{Name: name, Virtualizes: apicParameters[name]}
	if m.Virtualizes == "" {
		return nil, lacks("%s is not kvm_intel or kvm_amd", Backend())
	}
	if _, err := os.Stat(filepath.Join("/sys/module", name, "initstate")); err != nil {
		return nil, lacks("%s is built into the kernel", name)
	}
	if os.Geteuid() != 0 {
		return nil, lacks("only root may take %s out and put it in again", name)
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return nil, fmt.Errorf("uname: %w", err)
	}
	root := filepath.Join("/lib/modules", unix.ByteSliceToString(u.Release[:]))
	if real, err := filepath.EvalSymlinks(root); err == nil {
		root = real // WalkDir does not follow one
	}
	file := fileOf(name)
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && file(d.Name()) {
			m.path = path
			return fs.SkipAll
		}
		return nil
	})
	if m.path == "" {
		return nil, lacks("%s has no file of %s", root, name)
	}
	var err error
	if m.parameters, err = m.read(); err != nil {
		return nil, err
	}
	return m, nil
}

// fileOf matches the files that a module may be in.
func fileOf(name string) func(file string) bool {
	return func(file string) bool {
		base, rest, ok := strings.Cut(file, ".ko")
		return ok && strings.ReplaceAll(base, "-", "_") == name && slices.Contains([]string{"", ".xz", ".zst", ".gz"}, rest)
	}
}

// read returns the parameters that the module shows.
func (m *Module) read() (map[string]string, error) {
	dir := filepath.Join("/sys/module", m.Name, "parameters")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for _, e := range entries {
		if text, err := os.ReadFile(filepath.Join(dir, e.Name())); err == nil {
			all[e.Name()] = strings.TrimSpace(string(text))
		}
	}
	return all, nil
}

// Reload takes the module out and puts it in with that one parameter, and otherwise as the kernel would. It fails while any machine exists on the host.
func (m *Module) Reload(virtualizes bool) error {
	value := "0"
	if virtualizes {
		value = "1"
	}
	return m.reload([]string{m.Virtualizes + "=" + value})
}

// Restore puts the module back as it was when it was found.
func (m *Module) Restore() error {
	now, err := m.read()
	if err != nil {
		return err
	}
	var parameters []string
	for name, was := range m.parameters {
		if now[name] != was {
			parameters = append(parameters, name+"="+was)
		}
	}
	slices.Sort(parameters)
	return m.reload(parameters)
}

func (m *Module) reload(parameters []string) error {
	f, err := os.Open(m.path)
	if err != nil {
		return err
	}
	defer f.Close()
	switch err := unix.DeleteModule(m.Name, unix.O_NONBLOCK); {
	case errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, unix.EBUSY):
		return &NotSupportedError{Feature: reloading, Reason: m.Name + " is in use: another machine runs on this host"}
	case err != nil:
		return &Error{Op: "delete_module", Thing: m.Name, Err: err}
	}
	return m.load(f, strings.Join(parameters, " "))
}

// load puts the module in; the kernel decompresses it if need be (Linux 5.17).
func (m *Module) load(f *os.File, parameters string) error {
	var magic [4]byte
	flags := 0
	if _, err := f.ReadAt(magic[:], 0); err == nil && !bytes.Equal(magic[:], []byte("\x7fELF")) {
		flags = unix.MODULE_INIT_COMPRESSED_FILE
	}
	if err := unix.FinitModule(int(f.Fd()), parameters, flags); err != nil {
		return &Error{Op: "finit_module", Thing: fmt.Sprintf("%s %s (put it in again by hand: modprobe %s)", m.Name, parameters, m.Name), Err: err}
	}
	return nil
}
