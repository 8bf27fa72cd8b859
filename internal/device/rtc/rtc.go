package rtc

import (
	"sync"
	"time"
)

// Line is the interrupt output.
type Line interface {
	// Raise is called at each 0 to 1 transition. It must not block and must
	// not call the device.
	Raise()
}

// RTC is one clock. Read and Write may be called from any goroutine.
type RTC struct {
	now  func() time.Time
	line Line

	mu    sync.Mutex
	index uint8
	// cmos holds the RAM, the alarm and registers A and B; the time only while
	// register B's SET bit has stopped the clock.
	cmos [indexMask + 1]uint8
	// flags is register C without IRQF.
	flags uint8
	// offset is what guest time is ahead of the host's, in seconds.
	offset int64
	// weekday is what the guest's day of the week is ahead of the calendar's.
	weekday int
	// seen is the guest second up to which flags are complete.
	seen int64
	// pin is the level of the interrupt output.
	pin   bool
	timer *time.Timer // nil until the first interrupt is enabled
	// closed keeps the timer from being armed again.
	closed bool
}

// New returns a clock that shows now's time, in BCD and 24-hour mode, with all
// interrupts off. A nil line leaves the interrupt unconnected.
func New(now func() time.Time, line Line) *RTC {
	r := &RTC{now: now, line: line}
	r.cmos[cmosA] = aReset
	r.cmos[cmosB] = b2412
	r.seen = r.seconds()
	return r
}

// Close stops the timer: there are no interrupts any more.
func (r *RTC) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	if r.timer != nil {
		r.timer.Stop()
	}
}

// Read serves a guest's read. A wide access is one byte access per port, and
// the index port cannot be read.
func (r *RTC) Read(off uint64, p []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range p {
		p[i] = 0xff
		if off == portData && i == 0 || off == portIndex && i == 1 {
			p[i] = r.readCMOS(r.index)
		}
	}
}

// Write serves a guest's write; a wide one at the index port writes both.
func (r *RTC) Write(off uint64, p []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, v := range p {
		switch {
		case off == portIndex && i == 0:
			r.index = v & indexMask
		case off == portData && i == 0, off == portIndex && i == 1:
			r.writeCMOS(r.index, v)
		}
	}
}

func (r *RTC) readCMOS(at uint8) uint8 {
	switch at {
	case cmosA:
		v := r.cmos[cmosA]
		if r.updating() {
			v |= aUIP
		}
		return v
	case cmosC:
		r.catchUp()
		v := r.flags
		if r.requested() {
			v |= cIRQF
		}
		r.flags = 0
		r.update()
		return v
	case cmosD:
		return dVRT
	}
	if i := timeRegister(at); i >= 0 && r.running() {
		return r.show()[i]
	}
	return r.cmos[at]
}

func (r *RTC) writeCMOS(at, v uint8) {
	switch at {
	case cmosA:
		r.cmos[cmosA] = v &^ aUIP
	case cmosB:
		r.writeB(v)
	case cmosC, cmosD:
		// Read-only.
	case cmosSecondsAlarm, cmosMinutesAlarm, cmosHoursAlarm:
		r.catchUp()
		r.cmos[at] = v
		r.update()
	default:
		if timeRegister(at) < 0 || !r.running() {
			r.cmos[at] = v
			return
		}
		// Set while the clock runs: stopped, changed and started at once.
		r.catchUp()
		r.stop()
		r.cmos[at] = v
		r.start()
		r.update()
	}
}

func (r *RTC) writeB(v uint8) {
	r.catchUp()
	was := r.running()
	if was && v&bSET != 0 {
		r.stop()
	}
	if v&bSET != 0 {
		// An aborted update has no end to report.
		v &^= bUIE
	}
	r.cmos[cmosB] = v
	if !was && v&bSET == 0 {
		r.start()
	}
	r.update()
}
