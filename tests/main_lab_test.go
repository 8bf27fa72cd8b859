//go:build lab

package tests

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"doorbell/internal/cpio"
	"doorbell/internal/report"

	"golang.org/x/sys/unix"
)

// TestMain is also the guest's /init of the tests that need one of their own: the same binary, as process 1.
func TestMain(m *testing.M) {
	if os.Getpid() == 1 {
		guestMain()
	}
	if os.Args[0] == netGuestPath {
		if err := netGuest(); err != nil {
			fmt.Println("guest:", err)
			os.Exit(1)
		}
		fmt.Println("guest: network done")
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// guestMain plays the role that the kernel command line gives it in test.role=.
func guestMain() {
	must(os.MkdirAll("/proc", 0o755))
	must(unix.Mount("proc", "/proc", "proc", 0, ""))
	cmdline, err := os.ReadFile("/proc/cmdline")
	must(err)
	role := ""
	for _, w := range strings.Fields(string(cmdline)) {
		if v, ok := strings.CutPrefix(w, "test.role="); ok {
			role = v
		}
	}
	switch role {
	case "echo":
		fmt.Println("guest: type a line")
		s := bufio.NewScanner(os.Stdin)
		for s.Scan() && s.Text() != "quit" {
			fmt.Printf("guest: got %q, %d bytes\n", s.Text(), len(s.Text()))
		}
	case "poke":
		poke()
	}
	fmt.Println("guest: done")
	must(unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF))
	select {}
}

// poke reads and writes physical addresses where nothing is.
func poke() {
	f, err := os.OpenFile("/dev/mem", os.O_RDWR, 0)
	must(err)
	for _, addr := range []int64{0xc0000000, 0xd0000000, 0xfeb00000, 0xff000000} {
		b, err := unix.Mmap(int(f.Fd()), addr, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		must(err)
		for _, at := range []int{0, 1, 7, 2048, 4095} {
			v := b[at]
			b[at] = ^v
			fmt.Printf("guest: %#x is %#x\n", addr+int64(at), v)
		}
	}
}

func must(err error) {
	if err != nil {
		fmt.Println("guest:", err)
		unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
		select {}
	}
}

// guestInitramfs writes an initramfs whose /init is this test binary.
func guestInitramfs(t testing.TB) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "initrd")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := cpio.NewWriter(f)
	err = errors.Join(
		w.Dir("dev", 0o755), w.Device("dev/console", os.ModeCharDevice|0o600, 5, 1), w.Device("dev/mem", os.ModeCharDevice|0o600, 1, 1),
		w.File("init", 0o755, int64(len(b)), bytes.NewReader(b)), w.Close(), f.Close())
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// outcome is what a user sees of a run.
type outcome struct {
	stdout, stderr string
	status         int
}

// timeout bounds one run that hangs. A guest is up after some 3 s in the lab and may move much data; a machine with other work takes longer.
const timeout = 3 * time.Minute

// command prepares a run of doorbell.
func command(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	t.Cleanup(cancel)
	c := exec.CommandContext(ctx, "doorbell", args...)
	c.Dir = t.TempDir()
	c.Cancel, c.WaitDelay = func() error { return c.Process.Signal(syscall.SIGQUIT) }, dumpPatience
	return c
}

// doorbell runs the program to its end.
func doorbell(t testing.TB, stdin string, args ...string) outcome {
	t.Helper()
	c := command(t, args...)
	c.Stdin = strings.NewReader(stdin)
	var o, e bytes.Buffer
	c.Stdout, c.Stderr = &o, &e
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("doorbell %q: %v\n%s", args, err, &e)
	}
	return outcome{o.String(), e.String(), c.ProcessState.ExitCode()}
}

// boot boots a guest here and returns its JSON report too.
func boot(t testing.TB, stdin string, args ...string) (outcome, *report.Document) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "r.json")
	o := doorbell(t, stdin, append([]string{"boot", "--host", "here", "--report", "json=" + path}, args...)...)
	o.watch(t)
	d := new(report.Document)
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, d)
	}
	if err != nil {
		t.Fatalf("no report: %v\nstatus %d\nstdout:\n%s\nstderr:\n%s", err, o.status, o.stdout, o.stderr)
	}
	return o, d
}

// A run that takes too long is asked by SIGQUIT where its goroutines stand, and has dumpPatience to say so.
const (
	dumpPatience = 10 * time.Second
	killed       = -1 // its status if it does not
)

// watch notes a guest that has died by itself: see guestTest.
func (o outcome) watch(t testing.TB) {
	switch {
	case o.status == killed, o.guestStopped():
		died(t, "it hung")
	case o.status == 3 && strings.Contains(o.stderr, "triple fault"):
		died(t, "a triple fault")
	case o.status == 3 && strings.Contains(o.stderr, "kernel panicked"):
		died(t, "its kernel panicked")
	}
}

// guestStopped says whether doorbell was at its place when SIGQUIT came: each vCPU's thread in the guest, none busy with a device. It tells a
// guest that has stopped from a doorbell that has.
func (o outcome) guestStopped() bool {
	_, dump, found := strings.Cut(o.stderr, "SIGQUIT: quit")
	if !found {
		return false
	}
	vcpus := 0
	for stack := range strings.SplitSeq(dump, "\n\n") {
		if !strings.Contains(stack, "vcpu.(*CPU).loop(") {
			continue
		}
		if !strings.Contains(stack, "kvm.(*VCPU).Run(") {
			return false
		}
		vcpus++
	}
	return vcpus > 0
}

// want checks the exit status, and that parts of a text are there.
func (o outcome) want(t testing.TB, status int, text string, parts ...string) {
	t.Helper()
	if o.status != status {
		t.Errorf("status %d, want %d\nstdout:\n%s\nstderr:\n%s", o.status, status, o.stdout, o.stderr)
	}
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%q is not in:\n%s", p, text)
		}
	}
}
