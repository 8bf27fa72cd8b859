package vfio

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"

	"doorbell/guest/memory"
	"doorbell/internal/ioctl"
	"doorbell/vfio/sysfs"

	"golang.org/x/sys/unix"
)

const (
	containerPath = vfioDir + "/vfio"
	// type1Unsafe lets type 1 take devices whose interrupts are not remapped.
	type1Unsafe = "/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts"
)

// type1 is VFIO's own interface to the IOMMU: a container, to which groups of devices are attached.
type type1 struct {
	*Container
	fd       int
	hasIOMMU bool
	groups   []*group
}

// group is an open group of the IOMMU.
type group struct{ number, fd int }

func newType1(c *Container) (addressSpace, error) {
	fd, err := unix.Open(containerPath, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, openError(containerPath, err)
	}
	t := &type1{Container: c, fd: fd}
	if v, err := ioctl.Value(fd, getAPIVersion, 0); err != nil || v != apiVersion {
		return nil, errors.Join(fmt.Errorf("VFIO_GET_API_VERSION: %d: want %d: %w", v, apiVersion, unix.EINVAL), t.close())
	}
	if ok, err := ioctl.Value(fd, checkExtension, type1v2IOMMU); err != nil || ok == 0 {
		return nil, errors.Join(&UnsupportedError{"the kernel's VFIO has no type 1 IOMMU driver: modprobe vfio_iommu_type1"}, t.close())
	}
	return t, nil
}

func (t *type1) name() string { return "type1" }

// open implements addressSpace: a device's group comes with it.
func (t *type1) open(d sysfs.Device) (fd int, err error) {
	g, err := t.group(d)
	if err != nil {
		return -1, err
	}
	name, err := unix.BytePtrFromString(d.Address.String())
	if err != nil {
		return -1, err
	}
	fd, err = ioctl.Pointer(g.fd, groupGetDevice, name)
	if errors.Is(err, unix.EBUSY) {
		return -1, inUse(d)
	}
	if err != nil {
		return -1, failed(groupGetDevice, err, "%s", d)
	}
	unix.CloseOnExec(fd)
	return fd, nil
}

// group opens a device's group and attaches it; the first one makes the address space.
func (t *type1) group(d sysfs.Device) (*group, error) {
	if i := slices.IndexFunc(t.groups, func(g *group) bool { return g.number == d.Group }); i >= 0 {
		return t.groups[i], nil
	}
	path := filepath.Join(vfioDir, strconv.Itoa(d.Group))
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, openError(path, err)
	}
	if err := t.attach(fd, d); err != nil {
		unix.Close(fd)
		return nil, err
	}
	g := &group{d.Group, fd}
	t.groups = append(t.groups, g)
	return g, t.kvm.Add(fd)
}

// attach puts an open group into the address space.
func (t *type1) attach(fd int, d sysfs.Device) error {
	status := groupStatus{}
	status.Argsz = ioctl.Size(status)
	if _, err := ioctl.Pointer(fd, groupGetStatus, &status); err != nil {
		return failed(groupGetStatus, err, "group %d", d.Group)
	}
	if status.Flags&groupViable == 0 {
		return fmt.Errorf("%s: VFIO says that IOMMU group %d is not viable: a device of it belongs to the host", d, d.Group)
	}
	restore, err := t.allowUnsafe(type1Unsafe)
	if err != nil {
		return err
	}
	defer restore()
	container := int32(t.fd)
	if _, err := ioctl.Pointer(fd, groupSetCont, &container); err != nil {
		return t.attachError(groupSetCont, err, d)
	}
	if t.hasIOMMU {
		return nil
	}
	if _, err := ioctl.Value(t.fd, setIOMMU, type1v2IOMMU); err != nil {
		return t.attachError(setIOMMU, err, d)
	}
	t.hasIOMMU = true
	return t.mapMemory(t.mapRegion)
}

// attachError explains a group's refusal: EPERM is the kernel's own check for interrupt remapping.
func (t *type1) attachError(r ioctl.Request, err error, d sysfs.Device) error {
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("%s: %w", d, &UnsafeError{r.Name + " says so"})
	}
	return failed(r, err, "group %d of %s", d.Group, d)
}

// release implements addressSpace: KVM has the group and not the device.
func (t *type1) release(int) error { return nil }

// mapRegion maps a piece of guest memory at its guest-physical address.
func (t *type1) mapRegion(r memory.Region) error {
	m := dmaMap{Flags: dmaRead | dmaWrite, VAddr: ioctl.Address(r.Host), IOVA: r.GPA, Size: r.Size}
	m.Argsz = ioctl.Size(m)
	_, err := ioctl.Pointer(t.fd, mapDMA, &m)
	return failed(mapDMA, err, "guest memory %#x+%#x", r.GPA, r.Size)
}

// close implements addressSpace.
func (t *type1) close() error {
	var errs []error
	for _, g := range t.groups {
		errs = append(errs, t.kvm.Remove(g.fd), unix.Close(g.fd))
	}
	return errors.Join(append(errs, unix.Close(t.fd))...)
}
