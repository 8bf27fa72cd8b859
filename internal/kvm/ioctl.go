package kvm

import "doorbell/internal/ioctl"

// request is an ioctl number with its name. Interrupted calls are repeated: only KVM_RUN may tell its caller of a signal, and it does not come
// through here.
type request struct {
	nr   uintptr
	name string
}

func ioctlValue(fd int, r request, value uintptr) (int, error) { return ioctl.Value(fd, r.nr, value) }

func ioctlPointer[T any](fd int, r request, v *T) (int, error) { return ioctl.Pointer(fd, r.nr, v) }
