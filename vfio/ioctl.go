package vfio

import "doorbell/internal/ioctl"

// request is an ioctl number with its name.
type request struct {
	nr   uintptr
	name string
}

func ioctlValue(fd int, r request, value uintptr) (int, error) { return ioctl.Value(fd, r.nr, value) }

func ioctlPointer[T any](fd int, r request, v *T) (int, error) { return ioctl.Pointer(fd, r.nr, v) }
