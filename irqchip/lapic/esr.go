package lapic

// Bits of ESR (SDM section 11.5.3). The others belong to the APIC bus of the P6 and Pentium, or to processors that cannot send with
// lowest priority.
const (
	esrSendIllegal     = 1 << 5
	esrReceiveIllegal  = 1 << 6
	esrIllegalRegister = 1 << 7
)

// fault records an error. It shows in ESR after the next write to it. The error interrupt is sent once between two such writes.
func (a *APIC) fault(bits uint32) {
	e := &a.errors
	e.pending |= bits
	if !e.fired && a.lvt[lvtError]&lvtMask == 0 {
		// First, since an illegal vector in LVT error is an error, too.
		e.fired = true
		a.local(lvtError)
	}
}

// writeESR is a write of any value: it shows the errors since the last write, and arms the interrupt again.
func (a *APIC) writeESR() { a.errors = errorStatus{logged: a.errors.pending} }
