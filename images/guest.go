package images

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A Guest is all that a machine needs to boot Linux.
type Guest struct {
	// Kernel is the path of a bzImage or vmlinux, Initrd that of its
	// initramfs.
	Kernel string
	Initrd string
	// Cmdline is the kernel's command line.
	Cmdline string
	// Version is the kernel's release; empty when the kernel does not say.
	Version string
}

// Environment variables that replace parts of the default guest.
const (
	// EnvGuest names a folder with the files kernel, initrd and perhaps
	// cmdline. They are used as they are; nothing is downloaded or built. It
	// may have a folder of the same kind for each release that GuestOf is asked
	// for; without it that guest is made as if there were no EnvGuest.
	EnvGuest = "DOORBELL_GUEST"
	// MissingFile in such a folder of a release has, in place of a guest, the
	// reason why there is none.
	MissingFile = "missing"
	// EnvAgent names the program that becomes /init.
	EnvAgent = "DOORBELL_AGENT"
)

// guestModules are what the default guest may need, depending on its devices;
// optionalModules may be missing, as they are in older kernels.
var (
	guestModules    = []string{"virtio_pci", "virtio_net", "virtio_console"}
	optionalModules = []string{"pvpanic_mmio"}
)

// DefaultGuest returns the guest that boots when the user names no kernel:
// Debian's, with an initramfs that has our agent and the drivers of our
// devices. What is going on is written to progress, which may be nil.
func DefaultGuest(ctx context.Context, progress io.Writer) (Guest, error) {
	if dir := os.Getenv(EnvGuest); dir != "" {
		return guestFromFolder(dir)
	}
	return makeGuest(ctx, kernelSource{progress: progress})
}

// GuestOf is DefaultGuest with another of Debian's kernels, or with our module.
func GuestOf(ctx context.Context, r Release, progress io.Writer) (Guest, error) {
	if dir := os.Getenv(EnvGuest); dir != "" {
		dir = filepath.Join(dir, r.String())
		if reason, err := os.ReadFile(filepath.Join(dir, MissingFile)); err == nil {
			return Guest{}, errors.New(strings.TrimSpace(string(reason)))
		}
		if st, err := os.Stat(dir); err == nil && st.IsDir() {
			return guestFromFolder(dir)
		}
	}
	return makeGuest(ctx, kernelSource{release: r, progress: progress})
}

// makeGuest downloads and builds what is missing of a guest with our agent.
func makeGuest(ctx context.Context, source kernelSource) (Guest, error) {
	// Before the download: a missing agent is the user's to fix.
	agent, err := findAgent()
	if err != nil {
		return Guest{}, err
	}
	kernel, err := source.kernel(ctx)
	if err != nil {
		return Guest{}, err
	}
	names := slices.Clone(guestModules)
	for _, name := range optionalModules {
		if _, err := os.Stat(kernel.modulePath(name)); err == nil {
			names = append(names, name)
		}
	}
	modules, err := kernel.Modules(names...)
	if err != nil {
		return Guest{}, err
	}
	if source.release.IRQProbe {
		probe, err := source.irqprobe(ctx, kernel)
		if err != nil {
			return Guest{}, err
		}
		modules = append(modules, probe)
	}
	initrd, err := Initramfs(ctx, InitramfsConfig{Agent: agent, DeviceModules: modules})
	if err != nil {
		return Guest{}, err
	}
	return Guest{Kernel: kernel.Vmlinuz, Initrd: initrd, Cmdline: DefaultCmdline, Version: kernel.Version}, nil
}

// findAgent returns the path of the agent's binary, which is built beside the
// program that runs.
func findAgent() (string, error) {
	if path := os.Getenv(EnvAgent); path != "" {
		if st, err := os.Stat(path); err != nil {
			return "", fmt.Errorf("guest agent: $%s: %w", EnvAgent, err)
		} else if !st.Mode().IsRegular() {
			return "", fmt.Errorf("guest agent: $%s: %s is not a regular file", EnvAgent, path)
		}
		return path, nil
	}
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("guest agent: %w", err)
	}
	path := filepath.Join(filepath.Dir(self), "agent")
	if st, err := os.Stat(path); err != nil || !st.Mode().IsRegular() {
		return "", fmt.Errorf("guest agent: %s is missing: run make, or set %s", path, EnvAgent)
	}
	return path, nil
}

// guestFromFolder uses what the folder has.
func guestFromFolder(dir string) (Guest, error) {
	g := Guest{Kernel: filepath.Join(dir, "kernel"), Initrd: filepath.Join(dir, "initrd"), Cmdline: DefaultCmdline}
	for _, path := range []string{g.Kernel, g.Initrd} {
		if st, err := os.Stat(path); err != nil {
			return Guest{}, fmt.Errorf("guest of $%s: %w", EnvGuest, err)
		} else if !st.Mode().IsRegular() {
			return Guest{}, fmt.Errorf("guest of $%s: %s is not a regular file", EnvGuest, path)
		}
	}
	cmdline, err := os.ReadFile(filepath.Join(dir, "cmdline"))
	if err == nil {
		g.Cmdline = strings.TrimSpace(string(cmdline))
	} else if !errors.Is(err, os.ErrNotExist) {
		return Guest{}, fmt.Errorf("guest of $%s: %w", EnvGuest, err)
	}
	if g.Version, err = bzImageRelease(g.Kernel); err != nil {
		return Guest{}, fmt.Errorf("guest of $%s: %w", EnvGuest, err)
	}
	return g, nil
}

// bzImageRelease reads the release from a bzImage's setup header
// (Documentation/arch/x86/boot.rst, kernel_version): the offset, less 0x200,
// of a string that starts with it. A file that is no bzImage has none.
func bzImageRelease(path string) (string, error) {
	const magicOffset, versionOffset, longest = 0x202, 0x20e, 0x10000 + 0x200 + 128
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, longest))
	if err != nil {
		return "", err
	}
	if len(b) < versionOffset+2 || string(b[magicOffset:magicOffset+4]) != "HdrS" {
		return "", nil
	}
	start := int(binary.LittleEndian.Uint16(b[versionOffset:])) + 0x200
	if start == 0x200 || start >= len(b) {
		return "", nil
	}
	version, _, _ := bytes.Cut(b[start:min(start+128, len(b))], []byte{0})
	release, _, _ := strings.Cut(string(version), " ")
	return release, nil
}
