package images

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// irqprobeSource is the driver of doorbell's device of the same name.
//
//go:embed irqprobe/Kbuild irqprobe/irqprobe.c irqprobe/irqprobe.h
var irqprobeSource embed.FS

// irqprobe returns the module irqprobe, built for the kernel; from the cache when it is there. It takes gcc, make and the kernel's headers.
func (s kernelSource) irqprobe(ctx context.Context, k *KernelSet) (Module, error) {
	path := filepath.Join(k.Dir, "irqprobe-"+irqprobeKey()+".ko")
	if _, err := os.Stat(path); err != nil {
		if err := s.buildIRQProbe(ctx, k, path); err != nil {
			return Module{}, fmt.Errorf("module irqprobe for Linux %s: %w", k.Version, err)
		}
	}
	f, err := os.Open(path)
	if err != nil {
		return Module{}, err
	}
	defer f.Close()
	info, err := readModinfo(f)
	if err != nil {
		return Module{}, fmt.Errorf("module irqprobe: %w: remove %s to build it again", err, path)
	}
	return Module{Name: "irqprobe", Path: path, Needs: info.depends, Aliases: info.aliases}, nil
}

// irqprobeKey names what is built: another source makes another module.
func irqprobeKey() string {
	h := sha256.New()
	_ = fs.WalkDir(irqprobeSource, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := irqprobeSource.ReadFile(path) // embedded: cannot fail
		fmt.Fprintf(h, "%s %d\n%s", path, len(text), text)
		return err
	})
	return hex.EncodeToString(h.Sum(nil)[:4])
}

func (s kernelSource) buildIRQProbe(ctx context.Context, k *KernelSet, path string) error {
	for _, program := range []string{"gcc", "make"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%s is missing: install %s", program, program)
		}
	}
	headers, err := s.headers(ctx, k)
	if err != nil {
		return err
	}
	t := begin(s.progress, "building irqprobe for "+k.Version, 0)
	defer t.done()
	removeOld(k.Dir, time.Now().Add(-time.Hour), isTemporary)
	dir, err := os.MkdirTemp(k.Dir, temporary)
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	source, err := fs.Sub(irqprobeSource, "irqprobe")
	if err != nil {
		return err
	}
	if err := os.CopyFS(dir, source); err != nil {
		return err
	}
	// External modules: Documentation/kbuild/modules.rst. The Makefile of Debian's folder includes the common one by a path of an installed package. Types for
	// BPF, which Debian's newer headers would have made, take pahole, and nobody asks the module for them.
	cmd := exec.CommandContext(ctx, "make", "-s", "-C", headers.build, "-f", filepath.Join(headers.common, "Makefile"), "M="+dir, "CC=gcc", "CONFIG_DEBUG_INFO_BTF_MODULES=", "modules")
	cmd.Env = append(os.Environ(), "LC_ALL=C", "MAKEFLAGS=", "MAKELEVEL=")
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		err = fmt.Errorf("make: %w: %s", err, firstError(out))
		if s.release.Suite != "" {
			err = fmt.Errorf("%w: another suite's headers may want its compiler and C library, which this machine lacks", err)
		}
		return err
	}
	// Those of other sources have had their time.
	removeOld(k.Dir, time.Now(), func(name string) bool { return strings.HasPrefix(name, "irqprobe-") })
	return os.Rename(filepath.Join(dir, "irqprobe.ko"), path)
}

// firstError is the line of a build's output that says most.
func firstError(out []byte) string {
	var last string
	for line := range strings.Lines(string(bytes.TrimSpace(out))) {
		last = strings.TrimSpace(line)
		if strings.Contains(last, "rror") {
			return last
		}
	}
	return last
}

var errNoHeaders = errors.New("its headers are not in the machine's package sources any more: remove the cached kernel to get the newest")
