package kvm

import (
	"runtime"
	"unsafe"

	"doorbell/internal/ioctl"

	"golang.org/x/sys/unix"
)

// VFIODevice tells KVM which VFIO groups or devices, by their descriptors, the machine has (Documentation/virt/kvm/devices/vfio.rst): only then does it post their interrupts, and
// care for DMA that is not coherent with the processors' caches.
type VFIODevice struct{ fd int }

// CreateVFIODevice makes the machine's VFIO device, of which it has one.
func (v *VM) CreateVFIODevice() (*VFIODevice, error) {
	c := createDevice{Type: devTypeVFIO}
	if _, err := ioctl.Pointer(v.fd, kvmCreateDevice, &c); err != nil {
		return nil, fail(kvmCreateDevice, err, "vfio")
	}
	return &VFIODevice{fd: int(c.FD)}, nil
}

// Add adds a group that is open and attached to a container, or a device that is open and not yet bound to an iommufd.
func (d *VFIODevice) Add(file int) error { return d.set(devVFIOGroupAdd, file, "add") }

// Remove takes it away.
func (d *VFIODevice) Remove(file int) error { return d.set(devVFIOGroupDel, file, "remove") }

// set is a KVM_SET_DEVICE_ATTR whose address is that of the descriptor. KVM_DEV_VFIO_FILE and its attributes have the numbers of KVM_DEV_VFIO_GROUP's,
// which they took the place of in Linux 6.6.
func (d *VFIODevice) set(attr uint64, file int, what string) error {
	fd := new(int32)
	*fd = int32(file)
	var pin runtime.Pinner // the kernel reads it through an address inside a struct, which the collector does not see
	pin.Pin(fd)
	defer pin.Unpin()
	a := deviceAttr{Group: devVFIOGroup, Attr: attr, Addr: uint64(uintptr(unsafe.Pointer(fd)))}
	_, err := ioctl.Pointer(d.fd, kvmSetDeviceAttr, &a)
	return fail(kvmSetDeviceAttr, err, "vfio file, %s", what)
}

// Close releases the device; KVM forgets its files with the machine.
func (d *VFIODevice) Close() error { return unix.Close(d.fd) }
