package uart

// readRegister serves one byte. Called with mu held.
func (u *UART) readRegister(off uint64) uint8 {
	polls := u.polls
	u.polls = 0
	u.burst = 0
	switch off {
	case regRBR:
		if u.lcr&lcrDLAB != 0 {
			return u.dll
		}
		v := u.rx.pop()
		u.receive()
		u.update()
		return v
	case regIER:
		if u.lcr&lcrDLAB != 0 {
			return u.dlm
		}
		return u.ier
	case regIIR:
		v := u.identify()
		if v == iirTHRE {
			u.thre = false
			u.update()
		}
		if u.fcr&fcrEnable != 0 {
			v |= iirFIFO
		}
		return v
	case regLCR:
		return u.lcr
	case regMCR:
		return u.mcr
	case regLSR:
		if u.polls = min(polls+1, pollerReads); u.polls == pollerReads {
			u.poll()
		}
		v := uint8(lsrTHRE | lsrTEMT)
		if u.rx.len() > 0 {
			v |= lsrDR
		}
		if u.overrun {
			v |= lsrOE
			u.overrun = false
		}
		u.update()
		return v
	case regMSR:
		v := u.msr
		u.msr &= msrLines
		u.update()
		return v
	default:
		return u.scr
	}
}

// writeRegister serves one byte. Called with mu held.
func (u *UART) writeRegister(off uint64, v uint8) {
	u.polls = 0
	if off == regTHR && u.lcr&lcrDLAB == 0 {
		u.transmit(v)
		return
	}
	u.burst = 0
	switch off {
	case regTHR:
		u.dll = v
	case regIER:
		if u.lcr&lcrDLAB != 0 {
			u.dlm = v
			return
		}
		// THR is always empty, so enabling its interrupt raises it at once.
		if v&^u.ier&ierETBEI != 0 {
			u.thre = true
		}
		u.ier = v & ierMask
		u.receive()
	case regFCR:
		u.writeFCR(v)
	case regLCR:
		u.lcr = v
	case regMCR:
		u.mcr = v & mcrMask
		u.modem()
		u.receive()
	case regSCR:
		u.scr = v
	}
	// LSR is meant for factory tests only and MSR's lines are inputs: writes
	// to either change nothing.
	u.update()
}

// writeFCR programs the FIFOs. Changing the enable bit clears both; the other
// bits count only when it is written as 1. The transmit FIFO is always empty.
func (u *UART) writeFCR(v uint8) {
	switch {
	case v&(fcrEnable|fcrResetRx) == fcrEnable|fcrResetRx:
		u.rx.reset()
	case (v^u.fcr)&fcrEnable != 0:
		u.returnInput()
	}
	u.fcr = 0
	if v&fcrEnable != 0 {
		u.fcr = v & (fcrEnable | 3<<fcrTriggerShift)
	}
	u.rx.deep = u.fcr&fcrEnable != 0
	u.receive()
}

// transmit sends a byte, to the receiver while in loopback.
func (u *UART) transmit(v uint8) {
	// The write clears the interrupt, and the byte's departure sets it again. In
	// between the line is low, for the first byte of a FIFO load: see the
	// package comment.
	if u.burst == 0 {
		u.thre = false
		u.update()
		u.burst = 1
		if u.rx.deep {
			u.burst = fifoDepth
		}
	}
	u.burst--
	if u.mcr&mcrLOOP != 0 {
		if !u.rx.push(v) {
			u.overrun = true
		}
	} else {
		u.tx.push(v)
	}
	u.thre = true
	u.update()
}

// modem recomputes the modem lines: inputs, or in loopback the outputs.
func (u *UART) modem() {
	lines := uint8(msrDCD | msrDSR | msrCTS)
	if u.mcr&mcrLOOP != 0 {
		lines = 0
		for _, l := range [...]struct{ out, in uint8 }{
			{mcrRTS, msrCTS}, {mcrDTR, msrDSR}, {mcrOUT1, msrRI}, {mcrOUT2, msrDCD},
		} {
			if u.mcr&l.out != 0 {
				lines |= l.in
			}
		}
	}
	changed := (lines ^ u.msr) & msrLines
	// TERI is the trailing edge of RI only; the others tell any change.
	changed &^= lines & msrRI
	u.msr = lines | u.msr&msrDeltas | changed>>4
}

// identify returns the pending interrupt of the highest priority, in IIR's
// encoding and without the FIFO bits.
func (u *UART) identify() uint8 {
	n := u.rx.len()
	switch {
	case u.ier&ierELSI != 0 && u.overrun:
		return iirRLS
	case u.ier&ierERBFI != 0 && n > 0:
		if u.rx.deep && n < triggerLevel[u.fcr>>fcrTriggerShift] {
			return iirTimeout
		}
		return iirRDA
	case u.ier&ierETBEI != 0 && u.thre:
		return iirTHRE
	case u.ier&ierEDSSI != 0 && u.msr&msrDeltas != 0:
		return iirMS
	}
	return iirNone
}

// update drives the line from the state of the registers.
func (u *UART) update() {
	pin := u.mcr&(mcrOUT2|mcrLOOP) == mcrOUT2 && u.identify() != iirNone
	if pin && !u.pin && u.line != nil {
		u.line.Raise()
	}
	u.pin = pin
}
