package power

import "sync/atomic"

// Bits of the reset control register (Intel ICH9 datasheet, section 13.7.5).
const (
	rstSysRst  = 1 << 1 // hard reset, else INIT of the processors
	rstRstCPU  = 1 << 2 // a write that turns it from 0 to 1 resets
	rstFullRst = 1 << 3 // power-cycle with it
	rstMask    = rstSysRst | rstRstCPU | rstFullRst
)

// ResetControl is the reset control register, RST_CNT, at port 0xcf9. It is one
// byte inside the four ports of PCI's configuration address, which takes
// accesses of four bytes only.
type ResetControl struct {
	reset Request
	value atomic.Uint32
}

// NewResetControl returns the register with all bits clear.
func NewResetControl(reset Request) *ResetControl { return &ResetControl{reset: reset} }

// Read returns the bits as written.
func (r *ResetControl) Read(off uint64, p []byte) {
	fill(p)
	if off == 0 && len(p) > 0 {
		p[0] = byte(r.value.Load())
	}
}

// Write resets the machine at the rising edge of RST_CPU. Without SYS_RST the
// hardware would send INIT to the processors; to a guest that asks for it both are
// a restart, and so they are here.
func (r *ResetControl) Write(off uint64, p []byte) {
	if off != 0 || len(p) == 0 {
		return
	}
	v := uint32(p[0] & rstMask)
	was := r.value.Swap(v)
	if v&^was&rstRstCPU == 0 {
		return
	}
	// The register is as it was after the reset it brings about.
	r.value.Store(0)
	if v&rstSysRst != 0 {
		r.reset("reset control register 0xcf9: hard reset (RST_CPU, SYS_RST)")
	} else {
		r.reset("reset control register 0xcf9: processor reset (RST_CPU)")
	}
}

// RegisterName names the register for reports.
func (r *ResetControl) RegisterName(off uint64, _ bool) string {
	if off == 0 {
		return "RST_CNT"
	}
	return outside(off)
}
