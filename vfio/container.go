package vfio

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"doorbell/guest/memory"
	"doorbell/internal/ioctl"
	"doorbell/internal/kvm"
	"doorbell/vfio/sysfs"

	"golang.org/x/sys/unix"
)

const (
	vfioDir       = "/dev/vfio"
	containerPath = vfioDir + "/vfio"
	// unsafeParameter lets type 1 take devices whose interrupts are not remapped.
	unsafeParameter = "/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts"
)

// Container is one machine's devices: an address space of the IOMMU in which every device finds guest memory at its guest-physical addresses
// (VFIO's type 1). It is used by one goroutine.
type Container struct {
	cfg       ContainerConfig
	fd        int
	hasIOMMU  bool
	remapping sysfs.Remapping
	groups    []*group
	kvm       *kvm.VFIODevice
}

// ContainerConfig is what devices need of their machine.
type ContainerConfig struct {
	Host   sysfs.Host
	VM     *kvm.VM
	Memory []memory.Region
	// Unsafe takes devices without interrupt remapping, too.
	Unsafe bool
	// Warn takes one line at a time.
	Warn func(format string, args ...any)
}

// group is an open group of the IOMMU.
type group struct{ number, fd int }

// NewContainer opens VFIO. Errors are *UnsupportedError where the host has none, or *UnsafeError.
func NewContainer(c ContainerConfig) (*Container, error) {
	if !c.Host.HasIOMMU() {
		return nil, &UnsupportedError{sysfs.ErrNoIOMMU.Error()}
	}
	r, err := c.Host.Remapping()
	if err != nil {
		return nil, err
	}
	if !r.On {
		if !c.Unsafe {
			return nil, &UnsafeError{r.Evidence}
		}
		c.Warn("interrupt remapping is off (%s): the guest's devices can send any interrupt to the host", r.Evidence)
	}
	fd, err := unix.Open(containerPath, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, openError(containerPath, err)
	}
	t := &Container{cfg: c, fd: fd, remapping: r}
	if v, err := ioctl.Value(fd, getAPIVersion, 0); err != nil || v != apiVersion {
		return nil, errors.Join(fmt.Errorf("VFIO_GET_API_VERSION: %d: want %d: %w", v, apiVersion, unix.EINVAL), t.Close())
	}
	if ok, err := ioctl.Value(fd, checkExtension, type1v2IOMMU); err != nil || ok == 0 {
		return nil, errors.Join(&UnsupportedError{"the kernel's VFIO has no type 1 IOMMU driver: modprobe vfio_iommu_type1"}, t.Close())
	}
	if t.kvm, err = c.VM.CreateVFIODevice(); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// Remapping is what is known of the host's interrupt remapping.
func (t *Container) Remapping() sysfs.Remapping { return t.remapping }

// check says why a device cannot be passed through, by what sysfs shows.
func (t *Container) check(d sysfs.Device) error {
	switch {
	case d.Bridge():
		return fmt.Errorf("%s is a bridge of the host: only devices can be passed through", d)
	case d.Group < 0:
		return fmt.Errorf("%s: the host's IOMMU does not cover it", d)
	case d.Driver != sysfs.VFIODriver:
		return fmt.Errorf("%s is not bound to vfio-pci, but to %s: doorbell bind %s", d, cmp.Or(d.Driver, "no driver"), d.Address)
	}
	all, err := t.cfg.Host.Group(d.Group)
	if err != nil {
		return err
	}
	others := slices.DeleteFunc(all, func(o sysfs.Device) bool {
		return o.Address == d.Address || o.Driver == sysfs.VFIODriver || o.Bridge()
	})
	if len(others) > 0 {
		return &GroupError{d, others}
	}
	return nil
}

// open opens a device, and its group if it is the first of it. The caller closes the descriptor.
func (t *Container) open(d sysfs.Device) (fd int, err error) {
	if err := t.check(d); err != nil {
		return -1, err
	}
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
		return -1, fmt.Errorf("%s: the machine has it already, or another process has", d)
	}
	if err != nil {
		return -1, failed(groupGetDevice, err, "%s", d)
	}
	unix.CloseOnExec(fd)
	return fd, nil
}

// group opens a device's group and attaches it; the first one makes the address space.
func (t *Container) group(d sysfs.Device) (*group, error) {
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
	return g, t.kvm.AddGroup(fd)
}

// attach puts an open group into the address space.
func (t *Container) attach(fd int, d sysfs.Device) error {
	status := groupStatus{}
	status.Argsz = ioctl.Size(status)
	if _, err := ioctl.Pointer(fd, groupGetStatus, &status); err != nil {
		return failed(groupGetStatus, err, "group %d", d.Group)
	}
	if status.Flags&groupViable == 0 {
		return fmt.Errorf("%s: VFIO says that IOMMU group %d is not viable: a device of it belongs to the host", d, d.Group)
	}
	if t.cfg.Unsafe && !t.remapping.On {
		restore, err := allowUnsafe()
		if err != nil {
			return err
		}
		defer restore()
	}
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
	return t.mapMemory()
}

// attachError explains a group's refusal: EPERM is the kernel's own check for interrupt remapping.
func (t *Container) attachError(r ioctl.Request, err error, d sysfs.Device) error {
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("%s: %w", d, &UnsafeError{r.Name + " says so"})
	}
	return failed(r, err, "group %d of %s", d.Group, d)
}

// allowUnsafe has type 1 take devices without interrupt remapping until the returned function is called.
func allowUnsafe() (restore func(), err error) {
	was, err := os.ReadFile(unsafeParameter)
	if err != nil {
		return nil, fmt.Errorf("--unsafe-interrupts: %w", err)
	}
	if strings.TrimSpace(string(was)) == "Y" {
		return func() {}, nil
	}
	if err := os.WriteFile(unsafeParameter, []byte("Y"), 0); err != nil {
		return nil, fmt.Errorf("--unsafe-interrupts needs to set %s: %w", unsafeParameter, err)
	}
	return func() { _ = os.WriteFile(unsafeParameter, was, 0) }, nil
}

// mapMemory lets devices reach guest memory. All of it is pinned: the host cannot swap what a device may write to.
func (t *Container) mapMemory() error {
	size := uint64(0)
	for _, r := range t.cfg.Memory {
		size += r.Size
	}
	raiseMemlock(size)
	for _, r := range t.cfg.Memory {
		m := dmaMap{Flags: dmaRead | dmaWrite, VAddr: ioctl.Address(r.Host), IOVA: r.GPA, Size: r.Size}
		m.Argsz = ioctl.Size(m)
		_, err := ioctl.Pointer(t.fd, mapDMA, &m)
		switch {
		case errors.Is(err, unix.ENOMEM):
			return memlockError(size, err)
		case err != nil:
			return failed(mapDMA, err, "guest memory %#x+%#x", r.GPA, r.Size)
		}
	}
	return nil
}

// raiseMemlock makes the most of what the process may lock; if that is not enough, the kernel says so.
func raiseMemlock(size uint64) {
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_MEMLOCK, &l) == nil && l.Cur < size && l.Cur < l.Max {
		l.Cur = l.Max
		_ = unix.Setrlimit(unix.RLIMIT_MEMLOCK, &l)
	}
}

// memlockError explains why guest memory could not be pinned.
func memlockError(size uint64, err error) error {
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_MEMLOCK, &l) == nil && l.Cur < size {
		return fmt.Errorf("%s of guest memory have to stay in RAM for the device, but the limit for locked memory (RLIMIT_MEMLOCK) is %s: "+
			"ulimit -l unlimited, or be root: %w", memory.FormatSize(size), memory.FormatSize(l.Cur), err)
	}
	return failed(mapDMA, err, "%s of guest memory, which have to stay in RAM", memory.FormatSize(size))
}

// Close gives groups and address space up. Devices have been closed.
func (t *Container) Close() error {
	var errs []error
	for _, g := range t.groups {
		if t.kvm != nil {
			errs = append(errs, t.kvm.RemoveGroup(g.fd))
		}
		errs = append(errs, unix.Close(g.fd))
	}
	if t.kvm != nil {
		errs = append(errs, t.kvm.Close())
	}
	return errors.Join(append(errs, unix.Close(t.fd))...)
}
