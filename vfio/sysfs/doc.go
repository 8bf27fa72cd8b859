// Package sysfs is the host's PCI devices as its kernel shows them: who drives a device, which IOMMU group it is in, whether that IOMMU remaps
// interrupts, and how a device is moved from its driver to vfio-pci and back.
//
//	address.go     DDDD:BB:DD.F
//	device.go      what sysfs says of a device, and the group it is in
//	bind.go        to vfio-pci and back (Documentation/ABI/testing/sysfs-bus-pci: driver_override)
//	remapping.go   interrupt remapping, with the evidence
//
// Everything is read below a root folder, which tests replace.
package sysfs
