package main

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

const mountFlags = unix.MS_NOSUID | unix.MS_NOEXEC

// mountProc comes first: everything else is found through it.
func mountProc() error { return mount("proc", "/proc", "proc", mountFlags, "") }

// mountRest mounts what the agent, or a program it runs, may look for.
func mountRest() error {
	var errs []error
	for _, m := range []struct {
		kind, target string
		flags        uintptr
		data         string
	}{
		{"sysfs", "/sys", mountFlags, ""},
		{"devtmpfs", "/dev", unix.MS_NOSUID, "mode=0755"},
		{"tmpfs", "/run", unix.MS_NOSUID, "mode=0755"},
		{"tmpfs", "/tmp", unix.MS_NOSUID, "mode=1777"},
	} {
		errs = append(errs, mount(m.kind, m.target, m.kind, m.flags, m.data))
	}
	return errors.Join(errs...)
}

func mount(source, target, kind string, flags uintptr, data string) error {
	if err := os.MkdirAll(target, 0o755); err != nil {
		return fmt.Errorf("mount %s: %w", target, err)
	}
	err := unix.Mount(source, target, kind, flags, data)
	// The kernel mounts devtmpfs itself when it is built with
	// CONFIG_DEVTMPFS_MOUNT.
	if err != nil && !errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("mount %s on %s: %w", kind, target, err)
	}
	return nil
}
