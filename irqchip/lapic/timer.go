package lapic

import (
	"math"
	"math/bits"
)

// TimerHz is the frequency that TDCR divides: one nanosecond per count. A guest finds it by calibration, or in leaf 15H of CPUID.
const TimerHz = 1_000_000_000

// MinPeriod is the shortest period of the periodic mode, in nanoseconds. A guest may program a nanosecond, and hardware would try; here
// every period may cost the host a wakeup. It is KVM's default for the parameter min_timer_period_us. In the other two modes, each
// interrupt takes an access of the guest, which pays for it.
const MinPeriod = 200_000

// timer is the APIC timer (SDM section 11.5.4). It does not count: it knows when the count reaches 0.
type timer struct {
	ticr     uint32
	tdcr     uint32
	running  bool   // one-shot and periodic mode
	target   int64  // Clock.Now when the count reaches 0, if running
	deadline uint64 // IA32_TSC_DEADLINE; 0 is disarmed
}

// shift is the logarithm of what TDCR divides by: bits 3, 1 and 0 count from 2 up to 128, and then comes 1.
func (t *timer) shift() uint {
	return uint(t.tdcr&3|t.tdcr>>1&4+1) & 7
}

// period is the time from one expiry to the next, in nanoseconds: at most 2^39.
func (a *APIC) period() int64 {
	p := int64(a.timer.ticr) << a.timer.shift()
	if a.lvt[lvtTimer]&lvtTimerMode == lvtPeriodic {
		return max(p, MinPeriod)
	}
	return p
}

// Expire lets the timer do what it would have done by now, and says whether its interrupt was sent. The owner calls it before an entry, and
// when the time of Next has come. A host that is late by many periods sends one interrupt and counts the others as missed: in IRR they would
// have been one bit anyway. The timer does not drift: the next expiry is a whole number of periods after the last.
func (a *APIC) Expire() (sent bool) {
	t := &a.timer
	switch {
	case t.deadline != 0:
		if a.cfg.Clock.TSC() < t.deadline {
			return false
		}
		t.deadline = 0
	case t.running:
		late := a.cfg.Clock.Now() - t.target
		if late < 0 {
			return false
		}
		if a.lvt[lvtTimer]&lvtTimerMode == lvtPeriodic {
			p := a.period()
			n := late / p
			t.target += (n + 1) * p
			if a.lvt[lvtTimer]&lvtMask == 0 {
				a.count.missed.Add(uint64(n))
			}
		} else {
			t.running = false
		}
	default:
		return false
	}
	if a.lvt[lvtTimer]&lvtMask != 0 {
		return false
	}
	a.count.expired.Add(1)
	a.local(lvtTimer)
	return true
}

// Next is when Expire has to be called, as a time of Clock.Now; one in the past means now. ok is false if the timer is not going to interrupt.
func (a *APIC) Next() (deadline int64, ok bool) {
	t := &a.timer
	if a.lvt[lvtTimer]&lvtMask != 0 {
		return 0, false
	}
	if t.deadline != 0 {
		now, tsc := a.cfg.Clock.Now(), a.cfg.Clock.TSC()
		if tsc >= t.deadline {
			return now, true
		}
		return later(now, t.deadline-tsc, a.cfg.TSCHz), true
	}
	return t.target, t.running
}

// later is the time at which a counter will have advanced by ticks, rounded up; the end of time if that is beyond it.
func later(now int64, ticks, hz uint64) int64 {
	hi, lo := bits.Mul64(ticks, 1_000_000_000)
	lo, carry := bits.Add64(lo, hz-1, 0)
	if hi += carry; hi >= hz {
		return math.MaxInt64
	}
	ns, _ := bits.Div64(hi, lo, hz)
	if ns > uint64(math.MaxInt64-max(now, 0)) {
		return math.MaxInt64
	}
	return now + int64(ns)
}

// writeTICR starts the count, or stops it with 0. In TSC-deadline mode it is ignored (section 11.5.4.1).
func (a *APIC) writeTICR(v uint32) {
	if a.lvt[lvtTimer]&lvtDeadline != 0 {
		return
	}
	// An expiry that nobody has noticed yet happened before the write.
	a.Expire()
	t := &a.timer
	t.ticr = v
	t.running = v != 0
	if !t.running {
		return
	}
	p := a.period()
	if p != int64(v)<<t.shift() {
		a.count.clamped.Add(1)
	}
	t.target = a.cfg.Clock.Now() + p
}

// tccr is the current count: TICR at the start, 0 when the interrupt is sent. While a period is stretched to MinPeriod, the count stays
// at TICR for the rest of it.
func (a *APIC) tccr() uint32 {
	a.Expire()
	t := &a.timer
	if !t.running {
		return 0
	}
	left := max(t.target-a.cfg.Clock.Now(), 0)
	count := (left + 1<<t.shift() - 1) >> t.shift()
	return uint32(min(count, int64(t.ticr)))
}

// writeTDCR changes the divisor. What is left of a running count goes on at the new speed.
func (a *APIC) writeTDCR(v uint32) {
	left := a.tccr()
	t := &a.timer
	stretched := t.running && a.period() != int64(t.ticr)<<t.shift()
	t.tdcr = v & tdcrWritable
	if t.running && !stretched {
		t.target = a.cfg.Clock.Now() + int64(left)<<t.shift()
	}
}

// changeTimerMode is a write to LVT timer. To and from TSC-deadline mode, the timer is disarmed. Between one-shot and periodic mode the manual
// says the same, yet processors go on counting, and guests depend on it that write TICR first: the mode only says what happens at 0.
func (a *APIC) changeTimerMode(was, is uint32) {
	if (was^is)&lvtTimerMode != 0 && (was|is)&lvtDeadline != 0 {
		a.timer = timer{tdcr: a.timer.tdcr}
	}
}

// readDeadline is IA32_TSC_DEADLINE: 0 when it is disarmed, and in the other modes.
func (a *APIC) readDeadline() uint64 {
	a.Expire()
	return a.timer.deadline
}

// writeDeadline arms the timer, or disarms it with 0. In the other modes it is ignored. A time that has passed interrupts at once.
func (a *APIC) writeDeadline(v uint64) {
	if a.lvt[lvtTimer]&lvtTimerMode != lvtDeadline {
		return
	}
	a.Expire()
	a.timer.deadline = v
	a.Expire()
}
