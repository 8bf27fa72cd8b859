// Package power models the registers by which a guest ends the machine: the
// chipset's reset control register, the keyboard controller's reset command and
// the sleep registers of hardware-reduced ACPI. Each asks for its action through
// a function given to its constructor, and does nothing else: stopping vCPUs is the
// machine's work.
//
// That function is called on the goroutine that serves the guest's access,
// normally a vCPU's own thread, with no lock held, and again each time the guest
// asks again. It must return without waiting for that vCPU. reason names the register and the
// value, for the report.
package power

import "fmt"

// Request asks the machine for a reset or a power-off.
type Request func(reason string)

// outside names an offset at which a device has no register.
func outside(off uint64) string { return fmt.Sprintf("0x%x", off) }

// fill answers a read to which nothing responds: the bus floats high.
func fill(p []byte) {
	for i := range p {
		p[i] = 0xff
	}
}
