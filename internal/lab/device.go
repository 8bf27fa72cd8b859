package lab

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Device is a PCI function that L1 finds bound to vfio-pci, ready to be passed through to a guest.
type Device struct {
	Model string // one of DeviceModels
	// Unsafe leaves L1's IOMMU without interrupt remapping; one device's makes it so for all.
	Unsafe bool
}

// A deviceModel is how QEMU makes a device.
type deviceModel struct {
	name string
	nic  bool
	// device is the argument of -device, but for what attaches it.
	device string
	// disk is the size in MiB of its drive, which lives in memory and is empty at first; 0 is none.
	disk int64
}

// deviceModels are the kinds of devices, each different to pass through: a virtio function has its registers in memory that can be mapped; e1000e has a
// port BAR and a small MSI-X table; nvme keeps its doorbells and its MSI-X table in one BAR; edu has MSI and INTx, and no MSI-X. None has a ROM.
// iommu_platform has the virtio device's DMA go through the IOMMU, as every real device's does.
var deviceModels = []deviceModel{
	{name: "virtio-net", nic: true, device: "virtio-net-pci,iommu_platform=on,disable-legacy=on,mq=on,vectors=6,romfile="},
	{name: "e1000e", nic: true, device: "e1000e,romfile="},
	{name: "nvme", device: "nvme,serial=doorbell", disk: 64},
	{name: "edu", device: "edu"},
}

// DeviceModels are the names of what a Device can be.
func DeviceModels() (names []string) {
	for _, m := range deviceModels {
		names = append(names, m.name)
	}
	return names
}

// ParseDevice reads MODEL or MODEL,intremap=off.
func ParseDevice(s string) (Device, error) {
	model, options, _ := strings.Cut(s, ",")
	d := Device{Model: model}
	if !slices.Contains(DeviceModels(), model) {
		return d, fmt.Errorf("no device is named %q: there is %s", model, strings.Join(DeviceModels(), ", "))
	}
	switch options {
	case "", "intremap=on":
	case "intremap=off":
		d.Unsafe = true
	default:
		return d, fmt.Errorf("%q is no option of a device: there is intremap=on|off", options)
	}
	return d, nil
}

// maxDevices is as many as have a place.
const maxDevices = 8

// firstDeviceSlot is the number on L1's bus 0 of the first of Config.Devices; the others follow. QEMU's own devices of a q35 are at 0, 1 and 31.
const firstDeviceSlot = 4

// deviceAddress is where L1 finds Config.Devices[i].
func deviceAddress(i int) string { return fmt.Sprintf("0000:00:%02x.0", firstDeviceSlot+i) }

// passes says whether L1 has devices to pass through, and so an IOMMU.
func (cfg Config) passes() bool { return len(cfg.Devices) > 0 }

// remaps says whether L1's IOMMU remaps interrupts.
func (cfg Config) remaps() bool {
	return !slices.ContainsFunc(cfg.Devices, func(d Device) bool { return d.Unsafe })
}

// peers says whether L1 has a network card of its own, beside those that it passes through, to talk to whoever gets them.
func (cfg Config) peers() bool {
	return slices.ContainsFunc(cfg.Devices, func(d Device) bool { return modelOf(d).nic })
}

func modelOf(d Device) deviceModel {
	return deviceModels[slices.IndexFunc(deviceModels, func(m deviceModel) bool { return m.name == d.Model })]
}

// deviceArguments are QEMU's: an IOMMU in front of the devices, and for network cards one hub with L1's own card, where L1 has servers for
// whoever gets them.
func (cfg Config) deviceArguments() []string {
	if !cfg.passes() {
		return nil
	}
	remap := "off"
	if cfg.remaps() {
		remap = "on"
	}
	args := []string{"-device", "intel-iommu,eim=off,caching-mode=on,intremap=" + remap}
	port, fd := 0, firstDiskFD
	hubPort := func() string {
		id := fmt.Sprintf("port%d", port)
		port++
		args = append(args, "-netdev", "hubport,hubid=0,id="+id)
		return id
	}
	if cfg.peers() {
		args = append(args, "-device", fmt.Sprintf("virtio-net-pci,romfile=,netdev=%s,mac=%s", hubPort(), peerMAC))
	}
	for i, d := range cfg.Devices {
		m := modelOf(d)
		device := fmt.Sprintf("%s,addr=%#x", m.device, firstDeviceSlot+i)
		if m.nic {
			device += fmt.Sprintf(",netdev=%s,mac=52:54:00:db:00:%02x", hubPort(), i)
		}
		if m.disk > 0 {
			args = append(args, "-blockdev", fmt.Sprintf("driver=file,locking=off,node-name=disk%d,filename=/proc/self/fd/%d", i, fd))
			fd++
			device += fmt.Sprintf(",drive=disk%d", i)
		}
		args = append(args, "-device", device)
	}
	return args
}

// disks makes the devices' drives, in the order in which QEMU finds their descriptors.
func (cfg Config) disks() (files []*os.File, err error) {
	for i, d := range cfg.Devices {
		size := modelOf(d).disk << 20
		if size == 0 {
			continue
		}
		fd, err := unix.MemfdCreate(fmt.Sprintf("lab-disk%d", i), unix.MFD_CLOEXEC)
		if err != nil {
			return files, fmt.Errorf("lab: memfd_create for a disk: %w", err)
		}
		f := os.NewFile(uintptr(fd), "lab-disk")
		files = append(files, f)
		if err := f.Truncate(size); err != nil {
			return files, fmt.Errorf("lab: a disk of %d bytes: %w", size, err)
		}
	}
	return files, nil
}

// L1's own card, for whom MACs of Config.Devices are not.
const peerMAC = "52:54:00:db:01:00"
