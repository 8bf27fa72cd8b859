package sysfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Host is a machine's sysfs and procfs. The zero value is this machine's.
type Host struct {
	Root string // "" for /
}

func (h Host) path(parts ...string) string {
	return filepath.Join(append([]string{"/", h.Root}, parts...)...)
}

const devicesDir = "sys/bus/pci/devices"

// Device is what sysfs says of a function.
type Device struct {
	Address      Address
	VendorID, ID uint16
	Class        uint32 // base class, subclass, interface: 24 bits
	Driver       string // "" for none
	Group        int    // of the IOMMU; -1 where there is none
}

// ErrNoDevice is the cause when there is no function at an address.
var ErrNoDevice = errors.New("there is no such PCI device")

// VFIODriver is the driver that hands a device to a process.
const VFIODriver = "vfio-pci"

const (
	baseClassBridge = 0x06
	noGroup         = -1
)

// Bridge says that the function is a bridge: part of the host's buses, not a device to pass through.
func (d Device) Bridge() bool { return d.Class>>16 == baseClassBridge }

// Identity is the device's vendor and number, as lspci has them.
func (d Device) Identity() string { return fmt.Sprintf("%04x:%04x", d.VendorID, d.ID) }

// String names the device for people: its address and its identity.
func (d Device) String() string { return fmt.Sprintf("%s [%s]", d.Address, d.Identity()) }

// Device reads one device. The error wraps ErrNoDevice when there is none.
func (h Host) Device(a Address) (Device, error) {
	d := Device{Address: a, Group: noGroup}
	dir := h.path(devicesDir, a.String())
	if _, err := os.Stat(dir); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = ErrNoDevice
		}
		return d, fmt.Errorf("%s: %w", a, err)
	}
	for _, f := range []struct {
		name string
		bits int
		to   func(uint64)
	}{
		{"vendor", 16, func(v uint64) { d.VendorID = uint16(v) }},
		{"device", 16, func(v uint64) { d.ID = uint16(v) }},
		{"class", 24, func(v uint64) { d.Class = uint32(v) }},
	} {
		text, err := os.ReadFile(filepath.Join(dir, f.name))
		if err != nil {
			return d, fmt.Errorf("%s: %w", a, err)
		}
		v, err := strconv.ParseUint(strings.TrimSpace(string(text)), 0, f.bits)
		if err != nil {
			return d, fmt.Errorf("%s: %s: %w", a, f.name, err)
		}
		f.to(v)
	}
	if target, err := os.Readlink(filepath.Join(dir, "driver")); err == nil {
		d.Driver = filepath.Base(target)
	}
	if target, err := os.Readlink(filepath.Join(dir, "iommu_group")); err == nil {
		if d.Group, err = strconv.Atoi(filepath.Base(target)); err != nil {
			return d, fmt.Errorf("%s: iommu_group: %w", a, err)
		}
	}
	return d, nil
}

// Devices reads all devices, by address.
func (h Host) Devices() ([]Device, error) {
	entries, err := os.ReadDir(h.path(devicesDir))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil // a machine without PCI
		}
		return nil, fmt.Errorf("list PCI devices: %w", err)
	}
	var all []Device
	for _, e := range entries {
		a, err := ParseAddress(e.Name())
		if err != nil {
			continue // an address of no known form belongs to another kind of bus
		}
		d, err := h.Device(a)
		if errors.Is(err, ErrNoDevice) {
			continue // it has just been unplugged
		}
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return all, nil
}

// Group is the devices of an IOMMU group, by address: what the IOMMU cannot tell apart.
func (h Host) Group(n int) ([]Device, error) {
	entries, err := os.ReadDir(h.path("sys/kernel/iommu_groups", strconv.Itoa(n), "devices"))
	if err != nil {
		return nil, fmt.Errorf("IOMMU group %d: %w", n, err)
	}
	var all []Device
	for _, e := range entries {
		a, err := ParseAddress(e.Name())
		if err != nil {
			return nil, fmt.Errorf("IOMMU group %d: %w", n, err)
		}
		d, err := h.Device(a)
		if err != nil {
			return nil, fmt.Errorf("IOMMU group %d: %w", n, err)
		}
		all = append(all, d)
	}
	return all, nil
}

// HasIOMMU says whether the host has put any device into a group of an IOMMU.
func (h Host) HasIOMMU() bool {
	entries, err := os.ReadDir(h.path("sys/kernel/iommu_groups"))
	return err == nil && len(entries) > 0
}

// Candidates are the devices that vfio-pci drives: those that a machine can take.
func (h Host) Candidates() ([]Device, error) {
	all, err := h.Devices()
	return slices.DeleteFunc(all, func(d Device) bool { return d.Driver != VFIODriver }), err
}

// VFIODevice is the name of a device's own file in /dev/vfio/devices (Linux 6.6, CONFIG_VFIO_DEVICE_CDEV).
func (h Host) VFIODevice(a Address) (string, error) {
	entries, err := os.ReadDir(h.path(devicesDir, a.String(), "vfio-dev"))
	if err != nil {
		return "", fmt.Errorf("VFIO has no file for it: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "vfio") {
			return e.Name(), nil
		}
	}
	return "", errors.New("VFIO has no file for it")
}
