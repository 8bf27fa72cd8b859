package kvm

import (
	"errors"
	"fmt"

	"doorbell/internal/ioctl"
)

// Error is a failed KVM operation: the request's name, the thing it was for, and the kernel's answer.
type Error struct {
	Op    string // the ioctl, as linux/kvm.h spells it, or "open"
	Thing string // what it was applied to: "gsi 24", "vcpu 3", "slot 1 gpa 0x100000000"; may be empty
	Err   error
}

func (e *Error) Error() string {
	if e.Thing == "" {
		return fmt.Sprintf("%s: %v", e.Op, e.Err)
	}
	return fmt.Sprintf("%s %s: %v", e.Op, e.Thing, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// NotSupportedError says that this host lacks a feature, and how that is known. It matches errors.ErrUnsupported; a test
// turns it into a skip, a user reads it.
type NotSupportedError struct {
	Feature string
	Reason  string
}

func (e *NotSupportedError) Error() string {
	return fmt.Sprintf("%s is not available on this host: %s", e.Feature, e.Reason)
}

// Is makes errors.Is(err, errors.ErrUnsupported) true.
func (e *NotSupportedError) Is(target error) bool { return target == errors.ErrUnsupported }

// fail wraps err, if there is one, with the request and the thing.
func fail(r ioctl.Request, err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &Error{Op: r.Name, Thing: fmt.Sprintf(format, args...), Err: err}
}
