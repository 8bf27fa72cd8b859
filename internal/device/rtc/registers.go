package rtc

import "fmt"

// Size is the number of I/O ports the device decodes.
const Size = 2

// Ports, as offsets from the base.
const (
	portIndex = 0
	portData  = 1
)

// indexMask drops bit 7 of the index, which on a PC masks NMI.
const indexMask = 0x7f

// CMOS addresses.
const (
	cmosSeconds      = 0x00
	cmosSecondsAlarm = 0x01
	cmosMinutes      = 0x02
	cmosMinutesAlarm = 0x03
	cmosHours        = 0x04
	cmosHoursAlarm   = 0x05
	cmosDayOfWeek    = 0x06
	cmosDayOfMonth   = 0x07
	cmosMonth        = 0x08
	cmosYear         = 0x09
	cmosA            = 0x0a
	cmosB            = 0x0b
	cmosC            = 0x0c
	cmosD            = 0x0d
	cmosCentury      = 0x32
)

// Register A.
const (
	aUIP = 1 << 7 // read-only
	// aReset is the 32.768 kHz divider and the rate that PC firmware leaves.
	aReset = 0x26
)

// Register B.
const (
	bSET  = 1 << 7
	bAIE  = 1 << 5
	bUIE  = 1 << 4
	bDM   = 1 << 2 // binary, else BCD
	b2412 = 1 << 1 // 24 hours, else 12
)

// Register C. Its flags stand where register B has their enable bits.
const (
	cIRQF = 1 << 7
	cAF   = 1 << 5
	cUF   = 1 << 4
)

// Register D.
const dVRT = 1 << 7

// hourPM marks the afternoon in 12-hour mode.
const hourPM = 0x80

// alarmAny in bits 7:6 of an alarm byte matches every value.
const alarmAny = 0xc0

// RegisterName names the port at an offset for reports.
func (r *RTC) RegisterName(off uint64, _ bool) string {
	switch off {
	case portIndex:
		return "INDEX"
	case portData:
		return "DATA"
	}
	return fmt.Sprintf("0x%x", off)
}
