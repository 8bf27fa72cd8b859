package vfio

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"doorbell/guest/memory"
	"doorbell/internal/kvm"
	"doorbell/vfio/sysfs"

	"golang.org/x/sys/unix"
)

// vfioDir has VFIO's devices.
const vfioDir = "/dev/vfio"

// Container is one machine's devices: an address space of the IOMMU in which every device finds guest memory at its guest-physical addresses. It is used
// by one goroutine.
type Container struct {
	cfg       ContainerConfig
	space     addressSpace
	remapping sysfs.Remapping
	kvm       *kvm.VFIODevice
}

// ContainerConfig is what devices need of their machine.
type ContainerConfig struct {
	Host   sysfs.Host
	VM     *kvm.VM
	Memory []memory.Region
	// Unsafe takes devices without interrupt remapping, too.
	Unsafe bool
	// Groups has devices passed through by their groups even where the host has iommufd.
	Groups bool
	// Warn takes one line at a time.
	Warn func(format string, args ...any)
}

// addressSpace is one of the kernel's two interfaces to the IOMMU.
type addressSpace interface {
	// name is what the interface is called.
	name() string
	// open opens a device and puts it into the address space. The caller closes the descriptor before the address space.
	open(d sysfs.Device) (fd int, err error)
	// release is called before a device's descriptor is closed.
	release(fd int) error
	// close gives up what open has opened beside the devices.
	close() error
}

// inUse is the error of a device that somebody has.
func inUse(d sysfs.Device) error {
	return fmt.Errorf("%s: the machine has it already, or another process has", d)
}

// NewContainer opens VFIO: by iommufd and the devices' own files where the host has them, otherwise by groups. Errors are *UnsupportedError where the
// host has none, or *UnsafeError.
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
	t := &Container{cfg: c, remapping: r}
	if t.kvm, err = c.VM.CreateVFIODevice(); err != nil {
		return nil, err
	}
	if !c.Groups && hasIOMMUFD() {
		t.space, err = newIOMMUFD(t)
	} else {
		t.space, err = newType1(t)
	}
	if err != nil {
		return nil, errors.Join(err, t.kvm.Close())
	}
	return t, nil
}

// Remapping is what is known of the host's interrupt remapping.
func (t *Container) Remapping() sysfs.Remapping { return t.remapping }

// Interface is the kernel's interface that devices are passed through by: "iommufd", or "type1" for a container with groups.
func (t *Container) Interface() string { return t.space.name() }

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

// open opens a device in the address space. The caller closes the descriptor.
func (t *Container) open(d sysfs.Device) (fd int, err error) {
	if err := t.check(d); err != nil {
		return -1, err
	}
	return t.space.open(d)
}

// allowUnsafe has the kernel take devices without interrupt remapping, if that is wanted and needed, until the returned function is called.
func (t *Container) allowUnsafe(parameter string) (restore func(), err error) {
	if !t.cfg.Unsafe || t.remapping.On {
		return func() {}, nil
	}
	was, err := os.ReadFile(parameter)
	if err != nil {
		return nil, fmt.Errorf("--unsafe-interrupts: %w", err)
	}
	if strings.TrimSpace(string(was)) == "Y" {
		return func() {}, nil
	}
	if err := os.WriteFile(parameter, []byte("Y"), 0); err != nil {
		return nil, fmt.Errorf("--unsafe-interrupts needs to set %s: %w", parameter, err)
	}
	return func() { _ = os.WriteFile(parameter, was, 0) }, nil
}

// mapMemory lets devices reach guest memory, by mapOne. All of it is pinned: the host cannot swap what a device may write to.
func (t *Container) mapMemory(mapOne func(memory.Region) error) error {
	size := uint64(0)
	for _, r := range t.cfg.Memory {
		size += r.Size
	}
	raiseMemlock(size)
	for _, r := range t.cfg.Memory {
		err := mapOne(r)
		if errors.Is(err, unix.ENOMEM) {
			return memlockError(size, err)
		}
		if err != nil {
			return err
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
	return fmt.Errorf("%s of guest memory have to stay in RAM: %w", memory.FormatSize(size), err)
}

// Close gives groups and address space up. Devices have been closed.
func (t *Container) Close() error { return errors.Join(t.space.close(), t.kvm.Close()) }
