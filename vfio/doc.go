// Package vfio passes a device of the host through to the guest: its registers become the guest's memory, its DMA sees the guest's memory and
// nothing else, and its interrupts go from the IOMMU by eventfd and irqfd to the guest's vector.
//
//	                  ┌─ BAR pages ──────────────► KVM memory slot: no exit
//	guest ─► pci.Function ─ MSI-X table page ────► pci.MSIX ─► which eventfd the host's vector signals
//	                  └─ configuration space ────► emulated, or read(2) and write(2) on the device
//	device ─► IOMMU ─ DMA ───────────────────────► guest memory, at its guest-physical addresses
//	                └ interrupt, remapped ─► host IRQ ─► eventfd ─► irqfd ─► vCPU
//
// # Files
//
//	container.go   the guest's memory as the IOMMU maps it, groups, and whether interrupts are remapped
//	device.go      one device by its descriptor: regions, interrupts, reset
//	passed.go      the function that the guest sees; config.go, its configuration space; bar.go, its BARs
//	irq.go         which of INTx, MSI and MSI-X the host's device has, and growing MSI-X
//	hostirq.go     what /proc/interrupts says of the device's interrupts
//	gone.go        a device that the host takes back or that fails
//	abi.go         linux/vfio.h
//
// What sysfs shows of devices, and moving them between drivers, is package sysfs.
//
// References: Documentation/driver-api/vfio.rst; linux/vfio.h.
package vfio
