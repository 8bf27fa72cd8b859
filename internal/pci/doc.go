// Package pci is one PCI segment with one bus, as the guest's configuration software sees it.
//
//	guest ── ECAM window, or ports 0xcf8 and 0xcfc ──► Segment ──► Function ──► configuration space
//	                                                     │             ├── BARs: where the machine's map is told to put them
//	                                                     │             └── capabilities, MSI-X among them
//	                                                     └── Decoder: the machine's map
//
// A function is built from its Identity, its BARs and its capabilities, then attached to the segment at a device
// number. What a BAR holds is a Handler, which is called without any lock of this package: only configuration
// accesses take the segment's lock.
//
// # Interrupts
//
// MSIX is the table, the pending bits and the two mask levels. Each vector owns an eventfd, given by the interrupt
// controllers through the Vectors interface; firing is one write(2), whether by a device model or by the kernel, and never comes
// through this package's locks. A masked vector is one whose eventfd is disconnected: the eventfd keeps the count, which
// is the pending bit.
//
// References: PCI Local Bus Specification 3.0; PCI Express Base Specification for the ECAM window.
package pci
