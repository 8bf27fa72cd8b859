package l1

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"doorbell/internal/lab/wire"
)

// runJob runs the command and sends everything that it gives, the exit status
// last. It is called once, by a process without other children.
func runJob(c *caller, job wire.JobMessage) error {
	roots := roots(texts(job.Returns))
	before, err := roots.snapshot()
	if err != nil {
		return err
	}
	std, err := newStdio(job)
	if err != nil {
		return err
	}
	path := string(job.Path)
	pid, err := syscall.ForkExec(path, texts(job.Args), &syscall.ProcAttr{
		Dir:   string(job.Dir),
		Env:   environment(texts(job.Env)),
		Files: std.childFDs(),
		Sys:   std.attributes(),
	})
	std.closeChild()
	if err != nil {
		return fmt.Errorf("start %s: %w", path, err)
	}
	if err := c.conn.Send(wire.Started, nil); err != nil {
		return err
	}
	output := std.copyOutput(c.conn)
	c.listen(pid, std)

	status, err := reap(pid)
	if err != nil {
		return err
	}
	// Whatever the command left running ends with it; then nobody holds the
	// pipes' other ends, and the output ends too.
	if err := unix.Kill(-1, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill what the command left running: %w", err)
	}
	if err := output(); err != nil {
		return err
	}
	if err := roots.sendChanged(c.conn, before); err != nil {
		return err
	}
	unix.Sync()
	exit, signal := exitStatus(status)
	return c.conn.SendWords(wire.Exit, uint32(exit), uint32(signal))
}

// exitStatus is the shell's way to put a wait status: 128+n for signal n.
func exitStatus(status unix.WaitStatus) (exit int, signal syscall.Signal) {
	if status.Signaled() {
		return 128 + int(status.Signal()), status.Signal()
	}
	return status.ExitStatus(), 0
}

// reap waits for the process pid and meanwhile for every orphan: they are
// this process's children too.
func reap(pid int) (unix.WaitStatus, error) {
	for {
		var status unix.WaitStatus
		got, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, fmt.Errorf("wait for the command: %w", err)
		case got == pid:
			return status, nil
		}
	}
}

func texts(all [][]byte) []string {
	var s []string
	for _, b := range all {
		s = append(s, string(b))
	}
	return s
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
