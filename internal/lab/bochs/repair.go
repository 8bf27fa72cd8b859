package bochs

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// repairSource is a library that is loaded with Bochs, looks whether Bochs needs repair, and repairs it in memory.
//
//go:embed repair/repair.c
var repairSource []byte

// ErrNoCompiler is the cause when there is no gcc.
var ErrNoCompiler = errors.New("gcc is not installed (Debian: apt-get install gcc libc6-dev)")

// Repair returns the path of the compiled repair, which is kept beside Bochs.
func (r Root) Repair() (string, error) {
	sum := sha256.Sum256(repairSource)
	path := r.path("repair-" + hex.EncodeToString(sum[:4]) + ".so")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if _, err := exec.LookPath("gcc"); err != nil {
		return "", fmt.Errorf("build the repair of Bochs: %w", ErrNoCompiler)
	}
	tmp, err := os.CreateTemp(string(r), "repair-*.tmp")
	if err != nil {
		return "", err
	}
	tmp.Close()
	defer os.Remove(tmp.Name())
	cmd := exec.Command("gcc", "-O2", "-shared", "-fPIC", "-x", "c", "-o", tmp.Name(), "-")
	cmd.Stdin = bytes.NewReader(repairSource)
	if out, err := cmd.CombinedOutput(); err != nil {
		line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		return "", fmt.Errorf("build the repair of Bochs: gcc: %w: %s", err, line)
	}
	return path, os.Rename(tmp.Name(), path)
}
