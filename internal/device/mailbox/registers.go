package mailbox

import "fmt"

// Registers is the register page as a device: what answers when DOORBELL is not
// an ioeventfd, or the guest does something else there.
type Registers struct{ ring func() }

// NewRegisters returns the page. ring is called on the goroutine that serves
// the guest's access and must not wait.
func NewRegisters(ring func()) *Registers { return &Registers{ring} }

// Read returns zeroes: no register can be read.
func (r *Registers) Read(_ uint64, p []byte) { clear(p) }

// Write rings when it starts at DOORBELL, whatever its width and value.
func (r *Registers) Write(off uint64, p []byte) {
	if off == DoorbellOffset && len(p) > 0 {
		r.ring()
	}
}

// RegisterName names the register for reports.
func (r *Registers) RegisterName(off uint64, _ bool) string {
	if off == DoorbellOffset {
		return "DOORBELL"
	}
	return fmt.Sprintf("0x%x", off)
}
