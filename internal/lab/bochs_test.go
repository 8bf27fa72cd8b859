//go:build bochs

package lab

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"doorbell/images"
	"doorbell/internal/lab/bochs"
)

// bochsConfig is the emulated Intel host: slow, and so not part of every run.
func bochsConfig(t *testing.T) Config {
	t.Helper()
	ctx := context.Background()
	root, err := images.Root(ctx, bochs.Recipe, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	kernel, err := images.Kernel(ctx, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	modules, err := kernel.Modules("irqbypass", "kvm", "kvm-intel")
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Bochs: root, Kernel: kernel.Vmlinuz, Memory: gib, CPUs: 1}
	for _, m := range modules {
		cfg.Modules = append(cfg.Modules, Module{Name: m.Name, Path: m.Path})
	}
	return cfg
}

func TestBochsPassesEverythingThrough(t *testing.T) {
	cfg := bochsConfig(t)
	cfg.Stdin = strings.NewReader("input")
	got := runCommand(t, cfg, "test:echo")
	if got.err != nil || got.ExitStatus != 7 || got.stdout != "input" || got.stderr != "5 bytes\n" {
		t.Errorf("%+v", got)
	}
}

func TestBochsBringsFilesBack(t *testing.T) {
	cfg := bochsConfig(t)
	path := filepath.Join(t.TempDir(), "r.json")
	got := runCommand(t, cfg, "test:write", path)
	if got.err != nil || got.ExitStatus != 0 {
		t.Fatalf("%+v", got)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "from L1" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestBochsPanics(t *testing.T) {
	got := runCommand(t, bochsConfig(t), "test:panic")
	if got.err == nil || got.ExitStatus != 1 || !strings.Contains(got.err.Error(), "Kernel panic") {
		t.Errorf("%+v", got)
	}
}

// TestBochsHasVMX: KVM works there, and somebody has looked whether the processor divides right.
func TestBochsHasVMX(t *testing.T) {
	cfg := bochsConfig(t)
	var console strings.Builder
	cfg.Console = &console
	got := runCommand(t, cfg, "test:kvm")
	if got.err != nil || got.ExitStatus != 0 || !strings.Contains(got.stdout, "version=12 tracepoint=true cpus=1") {
		t.Errorf("%+v", got)
	}
	if !strings.Contains(console.String(), "doorbell: Bochs's division ") {
		t.Error("nobody has looked whether Bochs divides right")
	}
}
