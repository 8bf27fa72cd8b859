package uart

import "fmt"

// Size is the number of I/O ports the device decodes.
const Size = 8

// Register offsets. While LCR.DLAB is set, offsets 0 and 1 are the divisor
// latch, DLL and DLM.
const (
	regRBR = 0 // read
	regTHR = 0 // write
	regIER = 1
	regIIR = 2 // read
	regFCR = 2 // write
	regLCR = 3
	regMCR = 4
	regLSR = 5
	regMSR = 6
	regSCR = 7
)

// Interrupt enable register.
const (
	ierERBFI = 1 << 0 // received data available
	ierETBEI = 1 << 1 // transmitter holding register empty
	ierELSI  = 1 << 2 // receiver line status
	ierEDSSI = 1 << 3 // modem status
	ierMask  = 0x0f
)

// Interrupt identification register: the sources in falling priority.
const (
	iirNone    = 0x01
	iirRLS     = 0x06
	iirRDA     = 0x04
	iirTimeout = 0x0c
	iirTHRE    = 0x02
	iirMS      = 0x00
	iirFIFO    = 0xc0 // both set while the FIFOs are enabled
)

// FIFO control register.
const (
	fcrEnable       = 1 << 0
	fcrResetRx      = 1 << 1
	fcrTriggerShift = 6
)

// triggerLevel is indexed by FCR bits 7:6.
var triggerLevel = [4]int{1, 4, 8, 14}

// Line control register.
const lcrDLAB = 1 << 7

// Modem control register.
const (
	mcrDTR  = 1 << 0
	mcrRTS  = 1 << 1
	mcrOUT1 = 1 << 2
	mcrOUT2 = 1 << 3
	mcrLOOP = 1 << 4
	mcrMask = 0x1f
)

// Line status register.
const (
	lsrDR   = 1 << 0
	lsrOE   = 1 << 1
	lsrTHRE = 1 << 5
	lsrTEMT = 1 << 6
)

// Modem status register: deltas below, lines above.
const (
	msrDCTS = 1 << 0
	msrDDSR = 1 << 1
	msrTERI = 1 << 2
	msrDDCD = 1 << 3
	msrCTS  = 1 << 4
	msrDSR  = 1 << 5
	msrRI   = 1 << 6
	msrDCD  = 1 << 7

	msrDeltas = 0x0f
	msrLines  = 0xf0
)

// RegisterName names the register at an offset for reports.
func (u *UART) RegisterName(off uint64, write bool) string {
	switch off {
	case regRBR:
		if write {
			return "THR/DLL"
		}
		return "RBR/DLL"
	case regIER:
		return "IER/DLM"
	case regIIR:
		if write {
			return "FCR"
		}
		return "IIR"
	case regLCR:
		return "LCR"
	case regMCR:
		return "MCR"
	case regLSR:
		return "LSR"
	case regMSR:
		return "MSR"
	case regSCR:
		return "SCR"
	}
	return fmt.Sprintf("0x%x", off)
}
