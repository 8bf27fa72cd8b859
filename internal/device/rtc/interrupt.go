package rtc

import "time"

// Bounds of one wait of the timer. The upper one notices when the host's clock is
// stepped; the lower one keeps a clock that stands still from spinning.
const (
	minWait = time.Millisecond
	maxWait = time.Minute
)

const day = 24 * 60 * 60

// catchUp sets the flags for every update that has happened since the last
// call. A clock that was set back starts over from its new time.
func (r *RTC) catchUp() {
	if !r.running() {
		return
	}
	now := r.seconds()
	if now > r.seen {
		r.flags |= cUF
		if at, ok := r.nextAlarm(r.seen); ok && at <= now {
			r.flags |= cAF
		}
	}
	r.seen = now
}

// requested is IRQF: a flag and its enable bit are both set.
func (r *RTC) requested() bool { return r.flags&r.cmos[cmosB]&(cAF|cUF) != 0 }

// update drives the line, and arms the timer for the next flag that will.
func (r *RTC) update() {
	pin := r.requested()
	if pin && !r.pin && r.line != nil {
		r.line.Raise()
	}
	r.pin = pin

	var next int64
	armed := !pin && r.running() && !r.closed
	switch {
	case armed && r.cmos[cmosB]&bUIE != 0:
		next = r.seen + 1
	case armed && r.cmos[cmosB]&bAIE != 0:
		next, armed = r.nextAlarm(r.seen)
	default:
		armed = false
	}
	if !armed {
		if r.timer != nil {
			r.timer.Stop()
		}
		return
	}
	wait := min(max(time.Unix(next-r.offset, 0).Sub(r.now()), minWait), maxWait)
	if r.timer == nil {
		r.timer = time.AfterFunc(wait, r.expire)
	} else {
		r.timer.Reset(wait)
	}
}

func (r *RTC) expire() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	r.catchUp()
	r.update()
}

// nextAlarm returns the first second after a given one that the alarm bytes
// match. They are compared as the guest wrote them, so a byte that no clock
// shows never matches, and then there is no such second.
func (r *RTC) nextAlarm(after int64) (int64, bool) {
	midnight := after - (after%day+day)%day
	start := int(after-midnight) + 1
	match := func(at uint8, shown uint8) bool {
		v := r.cmos[at]
		return v&alarmAny == alarmAny || v == shown
	}
	for t := start; t < start+day; {
		switch {
		case !match(cmosHoursAlarm, r.encodeHour(t/3600%24)):
			t += 3600 - t%3600
		case !match(cmosMinutesAlarm, r.encode(t/60%60)):
			t += 60 - t%60
		case !match(cmosSecondsAlarm, r.encode(t%60)):
			t++
		default:
			return midnight + int64(t), true
		}
	}
	return 0, false
}
