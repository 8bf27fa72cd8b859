package lab

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"doorbell/internal/lab/wire"
)

// TestLabDiesWithItsCaller kills a process that is in Run, and expects that
// its QEMU goes too.
func TestLabDiesWithItsCaller(t *testing.T) {
	cfg := hostConfig(t)
	caller := exec.Command(testBinary(t), "test:lab")
	stdin, err := caller.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := caller.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	caller.Stderr = os.Stderr
	if err := caller.Start(); err != nil {
		t.Fatal(err)
	}
	job := callerJob{Kernel: cfg.Kernel, Modules: cfg.Modules, Command: []string{testBinary(t), "test:stubborn"}}
	if err := json.NewEncoder(stdin).Encode(job); err != nil {
		t.Fatal(err)
	}
	ready := make([]byte, len("waiting"))
	if _, err := io.ReadFull(stdout, ready); err != nil {
		t.Fatal(err)
	}
	machines := children(t, caller.Process.Pid)
	if len(machines) != 1 {
		t.Fatalf("the caller has %d children, want QEMU alone", len(machines))
	}
	if err := caller.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = caller.Wait() // says that it was killed
	for deadline := time.Now().Add(30 * time.Second); alive(machines[0]); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("QEMU (process %d) outlives its caller", machines[0])
		}
	}
}

// writer is an io.Writer made of a function.
type writer func(p []byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

// children returns the processes that pid has started.
func children(t *testing.T, pid int) []int {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	var found []int
	for _, stat := range stats {
		child, parent, _ := processState(stat)
		if parent == pid {
			found = append(found, child)
		}
	}
	return found
}

// alive tells whether a process exists and has not ended.
func alive(pid int) bool {
	_, _, state := processState(fmt.Sprintf("/proc/%d/stat", pid))
	return state != "" && state != "Z" && state != "X"
}

// processState reads a file in the format of proc_pid_stat(5).
func processState(file string) (pid, parent int, state string) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, 0, ""
	}
	name := bytes.LastIndexByte(b, ')')
	_, _ = fmt.Sscan(string(b), &pid)
	_, _ = fmt.Sscan(string(b[name+1:]), &state, &parent)
	return pid, parent, state
}

func TestLabHostThatDies(t *testing.T) {
	t.Run("while it runs the command", func(t *testing.T) {
		got := runCommand(t, hostConfig(t), "test:panic")
		want := "lab: the emulated host ended before the command did: "
		if got.err == nil || !strings.HasPrefix(got.err.Error(), want) || !strings.Contains(got.err.Error(), "Kernel panic") || got.ExitStatus != 1 {
			t.Errorf("status %d, %v", got.ExitStatus, got.err)
		}
	})
	t.Run("and is started again", func(t *testing.T) {
		cfg := hostConfig(t)
		cfg.Retries = 1
		var progress bytes.Buffer
		cfg.Progress = &progress
		got := runCommand(t, cfg, "test:panic")
		var died *HostError
		if !errors.As(got.err, &died) {
			t.Errorf("status %d, %v", got.ExitStatus, got.err)
		}
		if n := strings.Count(progress.String(), "died under the command"); n != 1 {
			t.Errorf("started again %d times, want 1: %q", n, progress.String())
		}
	})
	t.Run("without a word", func(t *testing.T) {
		cfg := hostConfig(t)
		cfg.MaxSilence = 2 * wire.AliveEvery
		cfg.Stdout = writer(func(p []byte) (int, error) {
			for _, pid := range children(t, os.Getpid()) {
				_ = syscall.Kill(pid, syscall.SIGSTOP)
			}
			return len(p), nil
		})
		got := runCommand(t, cfg, "test:stubborn")
		var died *HostError
		if !errors.As(got.err, &died) || !strings.Contains(got.err.Error(), "hangs: it said nothing for 10s") {
			t.Errorf("status %d, %v", got.ExitStatus, got.err)
		}
	})
	t.Run("while it starts", func(t *testing.T) {
		cfg := hostConfig(t)
		cfg.Modules[0].Path = filepath.Join(t.TempDir(), "broken.ko")
		writeFile(t, cfg.Modules[0].Path, "no module")
		got := runCommand(t, cfg, "test:echo")
		want := "lab: the emulated host ended before it was up: lab: load kernel module virtio_ring: exec format error"
		if got.err == nil || !strings.HasPrefix(got.err.Error(), want) || got.ExitStatus != 1 {
			t.Errorf("status %d, %v", got.ExitStatus, got.err)
		}
	})
	t.Run("because the kernel is none", func(t *testing.T) {
		cfg := hostConfig(t)
		cfg.Kernel = filepath.Join(t.TempDir(), "kernel")
		writeFile(t, cfg.Kernel, "no kernel")
		got := runCommand(t, cfg, "test:echo")
		want := "lab: the emulated host ended before it was up: qemu"
		if got.err == nil || !strings.HasPrefix(got.err.Error(), want) || !strings.Contains(got.err.Error(), "kernel") {
			t.Errorf("status %d, %v", got.ExitStatus, got.err)
		}
	})
}
