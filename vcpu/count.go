package vcpu

import "doorbell/internal/ledger"

// CountIn has what the vCPU does counted in that ledger from here on; nil: nowhere. It is for the vCPU's own thread, in a method of its Bus, while nobody kicks
// the vCPU. With it the laboratory measures what counting costs the loop that counts for everybody.
func (c *CPU) CountIn(l *ledger.Ledger) { c.book = l.VCPU(c.cfg.ID) }
