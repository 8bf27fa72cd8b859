package vfio

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"doorbell/guest/memory"
	"doorbell/internal/ioctl"
	"doorbell/vfio/sysfs"

	"golang.org/x/sys/unix"
)

const (
	iommufdPath = "/dev/iommu"
	devicesDir  = vfioDir + "/devices"
	// iommufdUnsafe lets iommufd take devices whose interrupts are not remapped.
	iommufdUnsafe = "/sys/module/iommufd/parameters/allow_unsafe_interrupts"
)

// hasIOMMUFD says whether this kernel has iommufd and files for VFIO's devices (Linux 6.6, CONFIG_VFIO_DEVICE_CDEV).
func hasIOMMUFD() bool {
	for _, path := range []string{iommufdPath, devicesDir} {
		if _, err := os.Stat(path); err != nil {
			return false
		}
	}
	return true
}

// iommuFD is the kernel's own interface to the IOMMU (Documentation/userspace-api/iommufd.rst): an I/O address space, to which devices are attached one
// by one, each by a file of its own.
type iommuFD struct {
	*Container
	fd     int
	ioas   uint32
	mapped bool // guest memory is in the address space
}

func newIOMMUFD(c *Container) (addressSpace, error) {
	fd, err := unix.Open(iommufdPath, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, openError(iommufdPath, err)
	}
	t := &iommuFD{Container: c, fd: fd}
	a := ioasAlloc{}
	a.Size = ioctl.Size(a)
	if _, err := ioctl.Pointer(fd, ioasAllocate, &a); err != nil {
		return nil, errors.Join(failed(ioasAllocate, err, ""), t.close())
	}
	t.ioas = a.ID
	return t, nil
}

func (t *iommuFD) name() string { return "iommufd" }

// mapRegion maps a piece of guest memory at its guest-physical address.
func (t *iommuFD) mapRegion(r memory.Region) error {
	m := ioasMap{Flags: ioasFixedIOVA | ioasWriteable | ioasReadable, IOAS: t.ioas, UserVA: ioctl.Address(r.Host), Length: r.Size, IOVA: r.GPA}
	m.Size = ioctl.Size(m)
	_, err := ioctl.Pointer(t.fd, ioasMapRange, &m)
	return failed(ioasMapRange, err, "guest memory %#x+%#x", r.GPA, r.Size)
}

// open implements addressSpace. KVM has to know the device before it is bound.
func (t *iommuFD) open(d sysfs.Device) (fd int, err error) {
	path, err := t.file(d)
	if err != nil {
		return -1, err
	}
	if fd, err = unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
		return -1, openError(path, err)
	}
	if err := t.kvm.Add(fd); err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	if err := t.attach(fd, d); err != nil {
		return -1, errors.Join(err, t.release(fd), unix.Close(fd))
	}
	return fd, nil
}

// release implements addressSpace: as long as KVM has the file, the device is bound.
func (t *iommuFD) release(fd int) error { return t.kvm.Remove(fd) }

// file is the device's own.
func (t *iommuFD) file(d sysfs.Device) (string, error) {
	name, err := t.cfg.Host.VFIODevice(d.Address)
	if err != nil {
		return "", fmt.Errorf("%s: %w", d, err)
	}
	return filepath.Join(devicesDir, name), nil
}

// attach binds a device and puts it into the address space, which has guest memory in it from the first device on.
func (t *iommuFD) attach(fd int, d sysfs.Device) error {
	b := bindIOMMUFD{FD: int32(t.fd)}
	b.Argsz = ioctl.Size(b)
	if _, err := ioctl.Pointer(fd, deviceBind, &b); err != nil {
		return t.bindError(d, err)
	}
	restore, err := t.allowUnsafe(iommufdUnsafe)
	if err != nil {
		return err
	}
	defer restore()
	a := attachIOMMUFD{ID: t.ioas}
	a.Argsz = ioctl.Size(a)
	switch _, err := ioctl.Pointer(fd, deviceAttach, &a); {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%s: %w", d, &UnsafeError{deviceAttach.Name + " says so"})
	case err != nil:
		return failed(deviceAttach, err, "%s", d)
	case t.mapped:
		return nil
	}
	t.mapped = true
	return t.mapMemory(t.mapRegion)
}

// bindError explains why a device could not be bound to the IOMMU's address spaces.
func (t *iommuFD) bindError(d sysfs.Device, err error) error {
	if errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EINVAL) {
		return inUse(d)
	}
	return failed(deviceBind, err, "%s", d)
}

// close implements addressSpace: the devices' descriptors are closed.
func (t *iommuFD) close() error { return unix.Close(t.fd) }
