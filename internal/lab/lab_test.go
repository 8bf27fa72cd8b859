package lab

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"
)

// hostConfig is the emulated host of these tests: the kernel and the modules
// that the environment names.
func hostConfig(t *testing.T) Config {
	t.Helper()
	if testing.Short() {
		t.Skip("starts emulated hosts: not with -short")
	}
	kernel, modules := os.Getenv("DOORBELL_LAB_KERNEL"), os.Getenv("DOORBELL_LAB_MODULES")
	if kernel == "" || modules == "" {
		t.Fatal("set DOORBELL_LAB_KERNEL to a Linux image (bzImage or vmlinux) and DOORBELL_LAB_MODULES to the folder with its modules, or use -short")
	}
	cfg := Config{Kernel: kernel}
	paths := map[string]string{}
	err := filepath.WalkDir(modules, func(name string, entry fs.DirEntry, err error) error {
		paths[strings.ReplaceAll(entry.Name(), "-", "_")] = name
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_console",
		"irqbypass", "kvm", "kvm_amd",
	} {
		path, ok := paths[name+".ko"]
		if !ok {
			t.Fatalf("DOORBELL_LAB_MODULES=%s: no %s.ko in it", modules, name)
		}
		cfg.Modules = append(cfg.Modules, Module{Name: name, Path: path})
	}
	return cfg
}

// outcome is what a run gave.
type outcome struct {
	Result
	stdout, stderr string
	err            error
}

func testBinary(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return self
}

// runCommand runs one of commands in L1.
func runCommand(t *testing.T, cfg Config, command ...string) outcome {
	t.Helper()
	cfg.Command = append([]string{testBinary(t)}, command...)
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	var stdout, stderr bytes.Buffer
	if cfg.Stdout == nil {
		cfg.Stdout = &stdout
	}
	cfg.Stderr = &stderr
	result, err := Run(context.Background(), cfg)
	t.Logf("up in %.2f s", result.StartSeconds)
	return outcome{result, stdout.String(), stderr.String(), err}
}

func TestLabStreamsAndStatus(t *testing.T) {
	cfg := hostConfig(t)
	// More than the window of stdin frames, and no multiple of anything.
	input := strings.Repeat("0123456789abcde", 100_001)
	cfg.Stdin = strings.NewReader(input)
	var progress bytes.Buffer
	cfg.Progress = &progress
	got := runCommand(t, cfg, "test:echo")
	if got.err != nil || got.ExitStatus != 7 || got.Signal != 0 {
		t.Errorf("status %d, signal %d, %v; want status 7", got.ExitStatus, got.Signal, got.err)
	}
	if got.stdout != input {
		t.Errorf("stdout has %d bytes, which are not the %d of stdin", len(got.stdout), len(input))
	}
	if want := fmt.Sprintf("%d bytes\n", len(input)); got.stderr != want {
		t.Errorf("stderr %q, want %q", got.stderr, want)
	}
	if got.StartSeconds <= 0 {
		t.Errorf("started after %v s", got.StartSeconds)
	}
	if !strings.HasPrefix(progress.String(), "lab: starting an emulated AMD host (QEMU ") ||
		!strings.HasSuffix(progress.String(), "\n") || !strings.Contains(progress.String(), ", 2 CPUs, 3 GiB)...") {
		t.Errorf("progress %q", progress.String())
	}
}

func TestLabIsLikeHome(t *testing.T) {
	cfg := hostConfig(t)
	cfg.Dir = t.TempDir()
	for name, content := range map[string]string{"testdata/golden": "gold", "argument": "here", "other": "not carried"} {
		writeFile(t, filepath.Join(cfg.Dir, name), content)
	}
	extra := filepath.Join(t.TempDir(), "extra")
	writeFile(t, extra, "extra file")
	cfg.Files = []File{{Host: extra, Guest: "/somewhere/else"}}
	cfg.Env = []string{"LAB_TEST=on", "HOME=/home/somebody"}
	got := runCommand(t, cfg, "test:environment", "testdata/golden", "argument", "/somewhere/else")
	want := "dir=" + cfg.Dir + `
host=lab
home=/home/somebody
variable=on
pid=true
golden: "gold" <nil>
argument: "here" <nil>
else: "extra file" <nil>
`
	if got.err != nil || got.ExitStatus != 0 {
		t.Errorf("status %d, %v; stderr %q", got.ExitStatus, got.err, got.stderr)
	}
	if d := cmp.Diff(want, got.stdout); d != "" {
		t.Error(d)
	}
	if len(got.Files) != 0 {
		t.Errorf("came back: %v", got.Files)
	}
}

func TestLabKilledCommand(t *testing.T) {
	got := runCommand(t, hostConfig(t), "test:kill")
	if got.err != nil || got.ExitStatus != 128+9 || got.Signal != syscall.SIGKILL {
		t.Errorf("status %d, signal %d, %v; want 137 by SIGKILL", got.ExitStatus, got.Signal, got.err)
	}
}

func TestLabMuchOutput(t *testing.T) {
	cfg := hostConfig(t)
	file := filepath.Join(t.TempDir(), "data")
	got := runCommand(t, cfg, "test:output", file)
	if got.err != nil || got.ExitStatus != 0 {
		t.Fatalf("status %d, %v; stderr %q", got.ExitStatus, got.err, got.stderr)
	}
	want := fmt.Sprintf("%x", sha256.Sum256(testData()))
	if sum := fmt.Sprintf("%x", sha256.Sum256([]byte(got.stdout))); sum != want || got.stderr != want {
		t.Errorf("%d bytes of output with checksum %s, sent %s, want %s", len(got.stdout), sum, got.stderr, want)
	}
	data, err := os.ReadFile(file)
	if err != nil || fmt.Sprintf("%x", sha256.Sum256(data)) != want {
		t.Errorf("the written file has %d bytes, %v", len(data), err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if d := cmp.Diff([]string{file}, got.Files); d != "" {
		t.Error(d)
	}
}

func TestLabWrittenFiles(t *testing.T) {
	cfg := hostConfig(t)
	cfg.Dir = t.TempDir()
	outside := t.TempDir()
	for _, name := range []string{"changed", "kept"} {
		writeFile(t, filepath.Join(cfg.Dir, name), "from home")
	}
	blocked := filepath.Join(outside, "blocked")
	got := runCommand(t, cfg, "test:write", "changed", "new/deep/file", filepath.Join(outside, "report"), blocked, "/tmp/../var/not-named/x")
	if got.err != nil || got.ExitStatus != 0 {
		t.Fatalf("status %d, %v; stderr %q", got.ExitStatus, got.err, got.stderr)
	}
	want := []string{
		filepath.Join(cfg.Dir, "changed"), filepath.Join(cfg.Dir, "new/deep/file"),
		blocked, filepath.Join(outside, "report"),
	}
	if d := cmp.Diff(want, got.Files); d != "" {
		t.Error(d)
	}
	for _, name := range want {
		if b, err := os.ReadFile(name); err != nil || string(b) != "from L1" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	if b, err := os.ReadFile(filepath.Join(cfg.Dir, "kept")); err != nil || string(b) != "from home" {
		t.Errorf("kept: %q, %v", b, err)
	}
}

// TestLabFileThatCannotComeBack puts a folder in the way while the command
// runs.
func TestLabFileThatCannotComeBack(t *testing.T) {
	cfg := hostConfig(t)
	cfg.Dir = t.TempDir()
	report := filepath.Join(cfg.Dir, "report")
	signals := make(chan os.Signal, 1)
	cfg.Signals = signals
	cfg.Stdout = onOutput(func() {
		if err := os.Mkdir(report, 0o755); err != nil {
			t.Error(err)
		}
		signals <- syscall.SIGINT
	})
	got := runCommand(t, cfg, "test:interrupt", "report")
	want := "lab: write " + report + " back: is no regular file on this machine"
	if got.err == nil || got.err.Error() != want || got.ExitStatus != 1 {
		t.Errorf("status %d, %v; want 1 and %q", got.ExitStatus, got.err, want)
	}
	if left, err := os.ReadDir(cfg.Dir); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// onOutput calls a function at the first output.
func onOutput(f func()) *firstOutput { return &firstOutput{f: f} }

type firstOutput struct {
	bytes.Buffer
	f func()
}

func (w *firstOutput) Write(b []byte) (int, error) {
	if w.f != nil {
		w.f()
		w.f = nil
	}
	return w.Buffer.Write(b)
}

func TestLabSignals(t *testing.T) {
	t.Run("the first is forwarded", func(t *testing.T) {
		cfg := hostConfig(t)
		cfg.Dir = t.TempDir()
		signals := make(chan os.Signal, 1)
		cfg.Signals = signals
		stdout := onOutput(func() { signals <- syscall.SIGINT })
		cfg.Stdout = stdout
		got := runCommand(t, cfg, "test:interrupt", "report")
		if got.err != nil || got.ExitStatus != 5 || stdout.String() != "waiting\ninterrupt\n" {
			t.Errorf("status %d, %v, stdout %q", got.ExitStatus, got.err, stdout)
		}
		if b, err := os.ReadFile(filepath.Join(cfg.Dir, "report")); err != nil || string(b) != "report" {
			t.Errorf("report: %q, %v", b, err)
		}
	})
	t.Run("the second stops the lab", func(t *testing.T) {
		cfg := hostConfig(t)
		signals := make(chan os.Signal, 2)
		cfg.Signals = signals
		cfg.Stdout = onOutput(func() { signals <- syscall.SIGTERM; signals <- syscall.SIGTERM })
		got := runCommand(t, cfg, "test:stubborn")
		want := "lab: stopped by a second signal (terminated): the command was killed and its files are lost"
		if got.err == nil || got.err.Error() != want || got.ExitStatus != 128+15 || got.Signal != syscall.SIGTERM {
			t.Errorf("status %d, %v", got.ExitStatus, got.err)
		}
	})
	t.Run("one before the command stops the lab", func(t *testing.T) {
		cfg := hostConfig(t)
		signals := make(chan os.Signal, 1)
		signals <- syscall.SIGINT
		cfg.Signals = signals
		got := runCommand(t, cfg, "test:echo")
		want := "lab: stopped by a signal (interrupt) before the command had started"
		if got.err == nil || got.err.Error() != want || got.ExitStatus != 128+2 {
			t.Errorf("status %d, %v", got.ExitStatus, got.err)
		}
	})
}

func TestLabEndsWithTheCommand(t *testing.T) {
	got := runCommand(t, hostConfig(t), "test:orphan")
	if got.err != nil || got.ExitStatus != 0 || got.stdout != "left one behind" {
		t.Errorf("status %d, %v, stdout %q", got.ExitStatus, got.err, got.stdout)
	}
}

func TestLabContext(t *testing.T) {
	cfg := hostConfig(t)
	ctx, cancel := context.WithCancel(context.Background())
	cfg.Stdout = onOutput(cancel)
	cfg.Command = []string{testBinary(t), "test:stubborn"}
	result, err := Run(ctx, cfg)
	if !errors.Is(err, context.Canceled) || result.ExitStatus != 1 {
		t.Errorf("status %d, %v", result.ExitStatus, err)
	}
}

func TestLabHasKVM(t *testing.T) {
	got := runCommand(t, hostConfig(t), "test:kvm")
	if got.err != nil || got.ExitStatus != 0 || got.stdout != "version=12 tracepoint=true cpus=2 first=false svm=true" {
		t.Errorf("status %d, %v, stdout %q, stderr %q", got.ExitStatus, got.err, got.stdout, got.stderr)
	}
}

func TestLabTerminal(t *testing.T) {
	cfg := hostConfig(t)
	keyboard, terminal, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer keyboard.Close()
	defer terminal.Close()
	if err := pty.Setsize(keyboard, &pty.Winsize{Rows: 33, Cols: 77}); err != nil {
		t.Fatal(err)
	}
	cfg.Stdin, cfg.TTY = terminal, true
	stdout := onOutput(func() {
		// The carriage return of a raw terminal is L1's terminal's to change.
		if _, err := keyboard.Write([]byte("word\r")); err != nil {
			t.Error(err)
		}
	})
	cfg.Stdout = stdout
	got := runCommand(t, cfg, "test:terminal")
	want := "33 rows, 77 columns\r\nword\r\nread word\r\n"
	if got.err != nil || got.ExitStatus != 0 || stdout.String() != want {
		t.Errorf("status %d, %v, stdout %q, want %q", got.ExitStatus, got.err, stdout, want)
	}
}

func writeFile(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}
