package iouring

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// UnavailableError says why this host lets the caller have no ring. It matches errors.ErrUnsupported.
type UnavailableError struct {
	Reason string
	Err    error // the kernel's answer; nil if it gave a ring that is too old
}

func (e *UnavailableError) Error() string {
	if e.Err == nil {
		return "io_uring_setup: " + e.Reason
	}
	return fmt.Sprintf("io_uring_setup: %v: %s", e.Err, e.Reason)
}

func (e *UnavailableError) Unwrap() error { return e.Err }

// Is makes errors.Is(err, errors.ErrUnsupported) true.
func (e *UnavailableError) Is(target error) bool { return target == errors.ErrUnsupported }

// sysctlDisabled is there since Linux 6.6: 0 for all, 1 for CAP_SYS_ADMIN and the group of kernel.io_uring_group, 2 for nobody.
const sysctlDisabled = "/proc/sys/kernel/io_uring_disabled"

// setupError is why io_uring_setup(2) failed. disabled is what kernel.io_uring_disabled says, "" if it is not there.
func setupError(err error, entries uint32, disabled string) error {
	switch {
	case errors.Is(err, unix.ENOSYS):
		return &UnavailableError{"the kernel has no io_uring, or a seccomp filter hides it", err}
	case errors.Is(err, unix.EPERM) && disabled != "" && disabled != "0":
		return &UnavailableError{"kernel.io_uring_disabled is " + disabled, err}
	case errors.Is(err, unix.EPERM):
		return &UnavailableError{"a seccomp filter or a security module forbids it", err}
	}
	return fmt.Errorf("io_uring_setup of %d entries: %w", entries, err)
}

// disabled reads the sysctl.
func disabled() string {
	text, err := os.ReadFile(sysctlDisabled)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}
