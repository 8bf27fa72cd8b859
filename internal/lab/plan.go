package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"doorbell/internal/lab/closure"
	"doorbell/internal/lab/l1"
)

// selfName is the command name that means Config.Init, and selfPath where
// that binary is in L1.
const (
	selfName = "doorbell"
	selfPath = "/usr/bin/doorbell"
)

// A plan is a run as decided before anything is started: what travels into
// L1, what to run there, and what may come back.
type plan struct {
	tree    *tree
	path    string   // the command's absolute path in L1
	dir     string   // the folder it runs in
	returns []string // free of symbolic links; see wire.JobMessage
}

// newPlan looks at this machine's files and changes none.
func newPlan(cfg Config) (*plan, error) {
	p := &plan{tree: newTree(), dir: cfg.Dir}
	resolver := &closure.Resolver{Path: searchPath(cfg.Env), LibraryPath: variable(cfg.Env, "LD_LIBRARY_PATH")}
	if err := p.addBase(cfg, resolver); err != nil {
		return nil, err
	}
	if err := p.addCommand(cfg, resolver); err != nil {
		return nil, err
	}
	for _, binary := range cfg.Binaries {
		if _, err := p.addProgram(binary, cfg.Dir, resolver); err != nil {
			return nil, err
		}
	}
	if err := p.addFolders(cfg); err != nil {
		return nil, err
	}
	for _, f := range cfg.Files {
		info, err := os.Stat(f.Host)
		if err != nil {
			return nil, fmt.Errorf("lab: file to carry: %w", err)
		}
		if !info.Mode().IsRegular() || !filepath.IsAbs(f.Guest) {
			return nil, fmt.Errorf("lab: file to carry: %s to %s: want a regular file and an absolute path", f.Host, f.Guest)
		}
		p.tree.file(filepath.Clean(f.Guest), f.Host, info)
	}
	// Linux lets its root file system fill half of the memory, and the archive
	// is in memory too until it is unpacked.
	if limit := cfg.Memory * 2 / 5; p.tree.size > limit {
		return nil, fmt.Errorf("lab: the files to carry have %d MiB, an emulated host with %d MiB of memory holds %d MiB",
			p.tree.size>>20, cfg.Memory>>20, limit>>20)
	}
	return p, nil
}

// addBase puts in what every run has: the init binary, the modules and the
// few files that programs expect on any system.
func (p *plan) addBase(cfg Config, resolver *closure.Resolver) error {
	for _, dir := range []string{"/dev", "/proc", "/sys", "/run", "/root", "/etc", "/usr", "/usr/bin", "/var"} {
		p.tree.nodes[dir] = node{mode: fs.ModeDir | 0o755}
	}
	p.tree.nodes["/tmp"] = node{mode: fs.ModeDir | fs.ModeSticky | 0o777}
	p.tree.nodes["/var/tmp"] = node{mode: fs.ModeDir | fs.ModeSticky | 0o777}
	p.tree.nodes["/dev/console"] = node{mode: fs.ModeCharDevice | 0o600, major: 5, minor: 1}
	p.tree.content("/etc/passwd", 0o644, []byte("root:x:0:0:root:/root:/bin/sh\n"))
	p.tree.content("/etc/group", 0o644, []byte("root:x:0:\n"))
	p.tree.content("/etc/hosts", 0o644, []byte("127.0.0.1 localhost lab\n::1 localhost\n"))

	init, err := filepath.Abs(cfg.Init)
	if err != nil {
		return fmt.Errorf("lab: init: %w", err)
	}
	info, err := os.Stat(init)
	if err != nil {
		return fmt.Errorf("lab: init: %w", err)
	}
	// A release is linked statically; a test under the race detector is not.
	files, err := resolver.Files(init)
	if err != nil {
		return fmt.Errorf("lab: init: %w", err)
	}
	if err := p.addLibraries(files[1:]); err != nil {
		return fmt.Errorf("lab: init: %w", err)
	}
	p.tree.file(selfPath, init, info)
	p.tree.nodes[selfPath] = withMode(p.tree.nodes[selfPath], 0o755)
	p.tree.nodes["/init"] = node{mode: fs.ModeSymlink, target: strings.TrimPrefix(selfPath, "/")}

	var modules []l1.Module
	for i, m := range cfg.Modules {
		info, err := os.Stat(m.Path)
		if err != nil {
			return fmt.Errorf("lab: kernel module %s: %w", m.Name, err)
		}
		inside := fmt.Sprintf("%s/%02d.ko", l1.Folder, i)
		p.tree.file(inside, m.Path, info)
		modules = append(modules, l1.Module{Name: m.Name, Path: inside, Params: m.Params})
	}
	setup := l1.Setup{Modules: modules, SpareFirst: cfg.spareFirst(), TSC: cfg.Bochs == "" && cfg.emulated(), Steady: cfg.Bochs == ""}
	if cfg.Bochs != "" {
		setup.Serial = "/dev/ttyS1"
	}
	for i := range cfg.Devices {
		setup.Passed = append(setup.Passed, deviceAddress(i))
	}
	if cfg.peers() {
		setup.PeerMAC = peerMAC
	}
	encoded, err := setup.Encode()
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	p.tree.content(l1.SetupPath, 0o644, encoded)
	return nil
}

func withMode(n node, mode fs.FileMode) node {
	n.mode = mode
	return n
}

// addCommand decides what the command's name means and puts it in.
func (p *plan) addCommand(cfg Config, resolver *closure.Resolver) error {
	if cfg.Command[0] == selfName {
		p.path = selfPath
		return nil
	}
	path, err := p.addProgram(cfg.Command[0], cfg.Dir, resolver)
	p.path = path
	return err
}

// addProgram puts in a program with what it needs, and returns its path.
func (p *plan) addProgram(name, dir string, resolver *closure.Resolver) (string, error) {
	path := name
	switch {
	case filepath.IsAbs(name):
	case strings.Contains(name, "/"):
		path = filepath.Join(dir, name)
	default:
		found, err := resolver.LookPath(name)
		if err != nil {
			return "", fmt.Errorf("lab: command %s: %w", name, exec.ErrNotFound)
		}
		path = found
	}
	files, err := resolver.Files(path)
	if err != nil {
		return "", fmt.Errorf("lab: command %s: %w", name, err)
	}
	if _, err := p.tree.mirror(path); err != nil {
		return "", fmt.Errorf("lab: command %s: %w", name, err)
	}
	if err := p.addLibraries(files[1:]); err != nil {
		return "", fmt.Errorf("lab: command %s: %w", name, err)
	}
	return path, nil
}

const linkerCache = "/etc/ld.so.cache"

// addLibraries puts in what a program needs beside itself.
func (p *plan) addLibraries(files []string) error {
	if len(files) == 0 {
		return nil
	}
	// Without the cache the linker would look into its default folders only.
	// It checks what the cache says against the files.
	if _, err := os.Stat(linkerCache); err == nil {
		files = append(files, linkerCache)
	}
	for _, file := range files {
		if _, err := p.tree.mirror(file); err != nil {
			return err
		}
	}
	return nil
}

// addFolders puts in the working folder, its testdata, and what the arguments
// name, and decides what may come back.
func (p *plan) addFolders(cfg Config) error {
	dir, err := p.tree.mirror(cfg.Dir)
	if err != nil {
		return fmt.Errorf("lab: working folder: %w", err)
	}
	if n := p.tree.nodes[dir]; dir != "/" && !n.mode.IsDir() {
		return fmt.Errorf("lab: working folder: %s: is not a folder", cfg.Dir)
	}
	p.returns = append(p.returns, dir)
	testdata := filepath.Join(dir, "testdata")
	if info, err := os.Stat(testdata); err == nil && info.IsDir() {
		if err := p.tree.mirrorAll(testdata); err != nil {
			return fmt.Errorf("lab: testdata: %w", err)
		}
	}
	names := scan(cfg.Dir, cfg.Command[1:])
	for _, name := range slices.Concat(names.files, names.folders) {
		real, err := p.tree.mirror(name)
		if errors.Is(err, errNotCarried) {
			continue // a link into /proc or the like
		}
		if err != nil {
			return fmt.Errorf("lab: argument %s: %w", name, err)
		}
		p.returns = append(p.returns, real)
	}
	for _, name := range names.absent {
		real, err := p.tree.mirror(filepath.Dir(name))
		if errors.Is(err, errNotCarried) {
			continue
		}
		if err != nil {
			return fmt.Errorf("lab: argument %s: %w", name, err)
		}
		p.returns = append(p.returns, filepath.Join(real, filepath.Base(name)))
	}
	p.returns = outermost(p.returns)
	return nil
}

// outermost drops the paths that a search of others covers.
func outermost(paths []string) []string {
	slices.Sort(paths)
	var kept []string
	for _, name := range paths {
		if !slices.ContainsFunc(kept, func(dir string) bool { return covers(dir, name) }) {
			kept = append(kept, name)
		}
	}
	return kept
}

// covers tells whether L1 finds name when it searches dir.
func covers(dir, name string) bool {
	return below(name, dir) && !slices.ContainsFunc(l1.Scratch, func(scratch string) bool {
		return below(name, scratch) && !below(dir, scratch)
	})
}

// variable returns the last value of an environment variable in env.
func variable(env []string, name string) string {
	value := ""
	for _, v := range env {
		if rest, ok := strings.CutPrefix(v, name+"="); ok {
			value = rest
		}
	}
	return value
}

// searchPath is the PATH that commands are found with on this machine.
func searchPath(env []string) string {
	if path := variable(env, "PATH"); path != "" {
		return path
	}
	return os.Getenv("PATH")
}
