package images

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"doorbell/internal/kmod"
)

// A Module is an uncompressed kernel module in the cache.
type Module struct {
	// Name is spelled as in /proc/modules, with underscores.
	Name string
	Path string
	// Needs are the names of the modules that must be loaded before it.
	Needs []string
	// Aliases are patterns of the devices that it drives.
	Aliases []string
}

// modulesBuiltin is the package's list of what is compiled in.
const modulesBuiltin = "modules.builtin"

// Modules returns the named modules and all that they need, in the order in
// which to load them. Names may be spelled with dashes. What the kernel has
// built in is left out.
func (k *KernelSet) Modules(names ...string) ([]Module, error) {
	builtin, err := readBuiltin(filepath.Join(k.Dir, modulesBuiltin))
	if err != nil {
		return nil, fmt.Errorf("modules of %s: %w", k.Version, err)
	}
	order, err := closure(names, func(name string) (modinfo, error) {
		if builtin[name] {
			return modinfo{}, errSkip
		}
		return k.modinfo(name)
	})
	if err != nil {
		return nil, fmt.Errorf("modules of %s: %w", k.Version, err)
	}
	modules := make([]Module, len(order))
	for i, m := range order {
		modules[i] = Module{Name: m.name, Path: k.modulePath(m.name), Needs: m.depends, Aliases: m.aliases}
	}
	return modules, nil
}

func (k *KernelSet) modulePath(name string) string {
	return filepath.Join(k.ModuleDir, name+".ko")
}

func (k *KernelSet) modinfo(name string) (modinfo, error) {
	f, err := os.Open(k.modulePath(name))
	if os.IsNotExist(err) {
		return modinfo{}, fmt.Errorf("%q is not among those that are kept of the package", name)
	}
	if err != nil {
		return modinfo{}, err
	}
	defer f.Close()
	info, err := readModinfo(f)
	if err != nil {
		return modinfo{}, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return info, nil
}

// readBuiltin reads a list of paths such as kernel/net/unix/unix.ko.
func readBuiltin(path string) (map[string]bool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	builtin := map[string]bool{}
	for line := range strings.FieldsSeq(string(text)) {
		if name, ok := moduleName(line); ok {
			builtin[name] = true
		}
	}
	return builtin, nil
}

// namedModinfo is a module in the result of closure.
type namedModinfo struct {
	name string
	modinfo
}

// errSkip says that a module is not to be loaded.
var errSkip = errors.New("not to be loaded")

// visitState is where closure is with a module; the zero value is a module
// that has not been met.
type visitState int

const (
	visiting visitState = iota + 1
	skipped
	listed
)

// closure returns the modules of names and what they need, each after what it
// needs. Modules that get reports with errSkip are in no list.
func closure(names []string, get func(name string) (modinfo, error)) ([]namedModinfo, error) {
	state := map[string]visitState{}
	var order []namedModinfo
	var visit func(name string) error
	visit = func(name string) error {
		switch state[name] {
		case visiting:
			return fmt.Errorf("%q needs itself", name)
		case skipped, listed:
			return nil
		}
		state[name] = visiting
		info, err := get(name)
		if errors.Is(err, errSkip) {
			state[name] = skipped
			return nil
		}
		if err != nil {
			return err
		}
		for _, need := range info.depends {
			if err := visit(need); err != nil {
				return fmt.Errorf("%q needs %w", name, err)
			}
		}
		info.depends = slices.DeleteFunc(slices.Clone(info.depends), func(need string) bool { return state[need] != listed })
		state[name] = listed
		order = append(order, namedModinfo{name, info})
		return nil
	}
	for _, name := range names {
		if err := visit(kmod.Canonical(name)); err != nil {
			return nil, err
		}
	}
	return order, nil
}

// moduleName returns the canonical name of a module's file, compressed or not.
func moduleName(path string) (name string, ok bool) {
	base := filepath.Base(path)
	base = strings.TrimSuffix(base, ".xz")
	name, ok = strings.CutSuffix(base, ".ko")
	return kmod.Canonical(name), ok && name != ""
}
