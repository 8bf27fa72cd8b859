package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// environment is that of programs that are run.
var environment = []string{"PATH=/sbin:/bin:/usr/sbin:/usr/bin", "HOME=/", "TERM=linux"}

// runProgram runs a program on the console and returns its exit status.
func runProgram(argv []string, env ...string) (status int, err error) {
	return start(argv, &syscall.ProcAttr{
		Env:   append(env, environment...),
		Files: []uintptr{0, 1, 2},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
}

// runShell runs a shell that can control jobs: it needs a real terminal for
// that, which /dev/console is not.
func runShell(path string) error {
	terminal, err := os.OpenFile(consoleDevice(), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return fmt.Errorf("shell: %w", err)
	}
	defer terminal.Close()
	fd := terminal.Fd()
	_, err = start([]string{path}, &syscall.ProcAttr{
		Env:   environment,
		Files: []uintptr{fd, fd, fd},
		Sys:   &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0},
	})
	return err
}

// consoleDevice returns the terminal behind /dev/console: the last of those
// that the kernel writes to.
func consoleDevice() string {
	text, err := os.ReadFile("/sys/class/tty/console/active")
	names := strings.Fields(string(text))
	if err != nil || len(names) == 0 {
		return "/dev/console"
	}
	return filepath.Join("/dev", filepath.Base(names[len(names)-1]))
}

// start runs a program and waits for it. Every process whose parent has ended
// is a child of process 1, so others are reaped on the way.
func start(argv []string, attr *syscall.ProcAttr) (status int, err error) {
	if len(argv) == 0 {
		return 0, errors.New("no program to run")
	}
	pid, err := syscall.ForkExec(argv[0], argv, attr)
	if err != nil {
		return 0, fmt.Errorf("run %s: %w", argv[0], err)
	}
	for {
		var ws unix.WaitStatus
		got, err := unix.Wait4(-1, &ws, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, fmt.Errorf("wait for %s: %w", argv[0], err)
		case got == pid && ws.Exited():
			return ws.ExitStatus(), nil
		case got == pid && ws.Signaled():
			return 128 + int(ws.Signal()), nil
		}
	}
}
