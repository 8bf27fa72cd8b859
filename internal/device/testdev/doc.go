// Package testdev models the devices that public test kernels for hypervisors expect from a VMM. They have no data sheet; what test kernels rely on
// is what QEMU's isa-debug-exit, pc-testdev and pci-testdev do.
//
//   - exit.go: a write ends the machine with a status
//   - echo.go: ports and memory that read back what was written
//   - gsi.go: ports that drive interrupt lines
//   - pci.go: a function with a memory and a port BAR, whose writes are counted, by an exit or by an eventfd
package testdev
