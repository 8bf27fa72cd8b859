package pit

// Port 61 (PIIX3 data sheet, NMI status and control register). Bits 2 and 3 switch off sources of NMI that this machine does not have, and
// are only stored; bits 6 and 7 would tell of them. The speaker's bit has no effect: nobody listens.
const (
	systemGATE2   = 1 << 0
	systemSpeaker = 1 << 1
	systemStored  = 0x0f
	systemRefresh = 1 << 4
	systemOUT2    = 1 << 5
)

// refreshPulses is the count of PC firmware for counter 1: a refresh every 15 microseconds, at each of which the bit toggles. Programs time
// short waits by it.
const refreshPulses = 18

func (p *PIT) readSystem(now uint64) uint8 {
	v := p.system
	if pulses(now)/refreshPulses&1 != 0 {
		v |= systemRefresh
	}
	if p.counter(2, now).out {
		v |= systemOUT2
	}
	return v
}

func (p *PIT) writeSystem(v uint8, now uint64) {
	p.system = v & systemStored
	p.counter(2, now).setGATE(v&systemGATE2 != 0)
}
