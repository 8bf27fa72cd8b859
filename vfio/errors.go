package vfio

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"doorbell/internal/ioctl"
	"doorbell/vfio/sysfs"

	"golang.org/x/sys/unix"
)

// UnsafeError refuses a device on a host whose IOMMU does not remap interrupts.
type UnsafeError struct{ Evidence string }

func (e *UnsafeError) Error() string {
	return fmt.Sprintf("this host has no interrupt remapping (%s): a device could send any interrupt to any processor of the host; "+
		"turn it on in the firmware, or pass --unsafe-interrupts if you trust the guest", e.Evidence)
}

// UnsupportedError says what the host lacks for passing devices through. It matches errors.ErrUnsupported.
type UnsupportedError struct{ Reason string }

func (e *UnsupportedError) Error() string { return e.Reason }

// Is makes errors.Is(err, errors.ErrUnsupported) true.
func (e *UnsupportedError) Is(target error) bool { return target == errors.ErrUnsupported }

// GroupError refuses a device that the IOMMU cannot tell from others, which the host or nobody cares for.
type GroupError struct {
	Device sysfs.Device
	Others []sysfs.Device // of its group, that vfio-pci does not drive
}

func (e *GroupError) Error() string {
	var names []string
	for _, d := range e.Others {
		names = append(names, fmt.Sprintf("%s (%s)", d, cmp.Or(d.Driver, "no driver")))
	}
	return fmt.Sprintf("%s shares IOMMU group %d with %s: bind them to vfio-pci, too, or move the device to another slot",
		e.Device, e.Device.Group, strings.Join(names, ", "))
}

// failed wraps err, if there is one, with the request and the thing.
func failed(r ioctl.Request, err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s: %w", r.Name, fmt.Sprintf(format, args...), err)
}

// openError is why a file of /dev/vfio could not be opened.
func openError(path string, err error) error {
	switch {
	case errors.Is(err, unix.ENOENT):
		return &UnsupportedError{path + " is not there: the kernel has no VFIO: modprobe vfio-pci"}
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return fmt.Errorf("open %s: permission denied: be root, or have root give you the file", path)
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("open %s: another process has the device", path)
	}
	return fmt.Errorf("open %s: %w", path, err)
}
