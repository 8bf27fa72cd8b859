package kvm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"doorbell/internal/ioctl"

	"golang.org/x/sys/unix"
)

// System is /dev/kvm.
type System struct {
	fd   int
	path string
}

// Open opens the KVM device and checks the version of its API. An absent or unreadable device is a *NotSupportedError that
// says what to do.
func Open(path string) (*System, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		reason := fmt.Sprintf("open %s: %v", path, err)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			reason = path + " does not exist: the kernel has no KVM, or its module is not loaded"
		case errors.Is(err, fs.ErrPermission):
			reason = fmt.Sprintf("%s is not accessible to user %d: run as root or join the device's group (usually kvm)", path, os.Getuid())
		case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
			reason = path + " has no driver behind it: hardware virtualization is absent or disabled in the firmware"
		}
		return nil, &NotSupportedError{Feature: "KVM", Reason: reason}
	}
	s := &System{fd: fd, path: path}
	v, err := ioctl.Value(fd, kvmGetApiVersion, 0)
	if err != nil {
		s.Close()
		return nil, &NotSupportedError{Feature: "KVM", Reason: fmt.Sprintf("%s is not a KVM device (KVM_GET_API_VERSION: %v)", path, err)}
	}
	if v != APIVersion {
		s.Close()
		return nil, &NotSupportedError{Feature: "KVM", Reason: fmt.Sprintf("%s speaks API version %d, not %d", path, v, APIVersion)}
	}
	return s, nil
}

// Close releases the descriptor. Machines made from it live on.
func (s *System) Close() error { return unix.Close(s.fd) }

// CheckExtension is KVM_CHECK_EXTENSION: 0 where the capability is absent, otherwise its value (often 1, sometimes a limit).
func (s *System) CheckExtension(capability int) (int, error) {
	n, err := ioctl.Value(s.fd, kvmCheckExtension, uintptr(capability))
	return n, fail(kvmCheckExtension, err, "%d", capability)
}

// CreateVM makes an empty virtual machine of the default type.
func (s *System) CreateVM() (*VM, error) {
	size, err := ioctl.Value(s.fd, kvmGetVcpuMmapSize, 0)
	if err != nil {
		return nil, fail(kvmGetVcpuMmapSize, err, "")
	}
	fd, err := ioctl.Value(s.fd, kvmCreateVm, 0)
	if err != nil {
		return nil, fail(kvmCreateVm, err, "")
	}
	return &VM{fd: fd, runSize: size}, nil
}

// maxCPUIDEntries bounds the table of CPUID leaves; it is the kernel's own bound (KVM_MAX_CPUID_ENTRIES).
const maxCPUIDEntries = 256

// cpuidTable is struct kvm_cpuid2 with room for every entry.
type cpuidTable struct {
	n       uint32
	_       uint32
	entries [maxCPUIDEntries]CPUIDEntry
}

// SupportedCPUID is the CPUID table that this host and its KVM can give a guest.
func (s *System) SupportedCPUID() ([]CPUIDEntry, error) {
	t := &cpuidTable{n: maxCPUIDEntries}
	if _, err := ioctl.Pointer(s.fd, kvmGetSupportedCpuid, t); err != nil {
		return nil, fail(kvmGetSupportedCpuid, err, "")
	}
	return append([]CPUIDEntry(nil), t.entries[:min(t.n, maxCPUIDEntries)]...), nil
}
