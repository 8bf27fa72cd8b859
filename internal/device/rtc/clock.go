package rtc

import "time"

// timeRegisters are the bytes that show the time, in the order of show.
var timeRegisters = [...]uint8{
	cmosSeconds, cmosMinutes, cmosHours, cmosDayOfWeek, cmosDayOfMonth, cmosMonth, cmosYear, cmosCentury,
}

// timeRegister returns the place of a CMOS address in timeRegisters, or -1.
func timeRegister(at uint8) int {
	for i, reg := range timeRegisters {
		if reg == at {
			return i
		}
	}
	return -1
}

// beforeUpdate is tBUC of the data sheet: how long before an update UIP rises.
const beforeUpdate = 244 * time.Microsecond

func (r *RTC) running() bool { return r.cmos[cmosB]&bSET == 0 }

// seconds is the guest's time in seconds since 1970.
func (r *RTC) seconds() int64 { return r.now().Unix() + r.offset }

func (r *RTC) updating() bool {
	return r.running() && r.now().Nanosecond() >= int(time.Second-beforeUpdate)
}

// encode puts a number below 100 in the data mode of register B.
func (r *RTC) encode(v int) uint8 {
	if r.cmos[cmosB]&bDM != 0 {
		return uint8(v)
	}
	return uint8(v/10<<4 | v%10)
}

// decode is the inverse. What is not a decimal digit counts by its weight, as
// in the adders of real chips.
func (r *RTC) decode(v uint8) int {
	if r.cmos[cmosB]&bDM != 0 {
		return int(v)
	}
	return int(v>>4)*10 + int(v&0xf)
}

func (r *RTC) encodeHour(h int) uint8 {
	if r.cmos[cmosB]&b2412 != 0 {
		return r.encode(h)
	}
	v := r.encode((h+11)%12 + 1)
	if h >= 12 {
		v |= hourPM
	}
	return v
}

func (r *RTC) decodeHour(v uint8) int {
	if r.cmos[cmosB]&b2412 != 0 {
		return r.decode(v)
	}
	h := r.decode(v&^hourPM) % 12
	if v&hourPM != 0 {
		h += 12
	}
	return h
}

// mod is the remainder that is never negative.
func mod(a, b int) int { return (a%b + b) % b }

// show returns the time registers' contents now.
func (r *RTC) show() [len(timeRegisters)]uint8 {
	t := time.Unix(r.seconds(), 0).UTC()
	year := mod(t.Year(), 10000)
	return [...]uint8{
		r.encode(t.Second()),
		r.encode(t.Minute()),
		r.encodeHour(t.Hour()),
		r.encode(mod(int(t.Weekday())+r.weekday, 7) + 1),
		r.encode(t.Day()),
		r.encode(int(t.Month())),
		r.encode(year % 100),
		r.encode(year / 100),
	}
}

// stop freezes the time registers at what they show.
func (r *RTC) stop() {
	for i, v := range r.show() {
		r.cmos[timeRegisters[i]] = v
	}
}

// start lets time go on from what the registers hold. Values out of range carry
// into the next field: February 31 becomes a day in March.
func (r *RTC) start() {
	t := time.Date(
		r.decode(r.cmos[cmosCentury])*100+r.decode(r.cmos[cmosYear]),
		time.Month(r.decode(r.cmos[cmosMonth])),
		r.decode(r.cmos[cmosDayOfMonth]),
		r.decodeHour(r.cmos[cmosHours]),
		r.decode(r.cmos[cmosMinutes]),
		r.decode(r.cmos[cmosSeconds]), 0, time.UTC)
	r.offset = t.Unix() - r.now().Unix()
	r.weekday = mod(r.decode(r.cmos[cmosDayOfWeek])-1-int(t.Weekday()), 7)
	r.seen = t.Unix()
}
