package rtc

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// edges counts the line's rising edges.
type edges struct{ n atomic.Int64 }

func (e *edges) Raise() { e.n.Add(1) }

// inBubble runs a test in fake time, which starts at midnight of 2000-01-01.
func inBubble(t *testing.T, f func(t *testing.T, r *RTC, line *edges)) {
	synctest.Test(t, func(t *testing.T) {
		line := new(edges)
		r := New(time.Now, line)
		defer r.Close()
		f(t, r, line)
	})
}

// after lets time pass and says how often the line has risen in all.
func after(line *edges, d time.Duration) int64 {
	time.Sleep(d)
	synctest.Wait()
	return line.n.Load()
}

func TestUpdateInterrupt(t *testing.T) {
	inBubble(t, func(t *testing.T, r *RTC, line *edges) {
		time.Sleep(300 * time.Millisecond)
		set(r, cmosB, b2412|bUIE)
		if n := after(line, 699*time.Millisecond); n != 0 {
			t.Errorf("%d interrupts before the second is over", n)
		}
		if n := after(line, time.Millisecond); n != 1 {
			t.Errorf("%d interrupts at the end of the second, want 1", n)
		}
		// Until register C is read, the line stays up.
		if n := after(line, 5*time.Second); n != 1 {
			t.Errorf("%d interrupts with one pending, want 1", n)
		}
		if c := get(r, cmosC); c != cIRQF|cUF {
			t.Errorf("register C reads %#02x, want IRQF and UF", c)
		}
		if c := get(r, cmosC); c != 0 {
			t.Errorf("register C reads %#02x the second time, want 0", c)
		}
		for i := range int64(10) {
			if n := after(line, time.Second); n != 2+i {
				t.Errorf("%d interrupts, want one each second", n)
			}
			get(r, cmosC)
		}
	})
}

func TestAlarm(t *testing.T) {
	for _, tc := range []struct {
		name    string
		b       uint8
		h, m, s uint8
		first   time.Duration // from midnight; 0 for never
		next    time.Duration // from the first
	}{
		{"time of day", b2412, 0x07, 0x30, 0x15, 7*time.Hour + 30*time.Minute + 15*time.Second, 24 * time.Hour},
		{"binary", b2412 | bDM, 7, 30, 15, 7*time.Hour + 30*time.Minute + 15*time.Second, 24 * time.Hour},
		{"afternoon", 0, 0x87, 0x30, 0x15, 19*time.Hour + 30*time.Minute + 15*time.Second, 24 * time.Hour},
		{"midnight", b2412, 0, 0, 0, 24 * time.Hour, 24 * time.Hour},
		{"each hour", b2412, 0xff, 0x10, 0x00, 10 * time.Minute, time.Hour},
		{"each minute", b2412, 0xc0, 0xff, 0x05, 5 * time.Second, time.Minute},
		{"each second", b2412, 0xff, 0xff, 0xff, time.Second, time.Second},
		{"each second of a minute", b2412, 0xff, 0x01, 0xff, time.Minute, time.Second},
		{"no such hour", b2412, 0x25, 0, 0, 0, 0},
		{"no such second", b2412, 0xff, 0xff, 0x60, 0, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *RTC, line *edges) {
				set(r, cmosHoursAlarm, tc.h)
				set(r, cmosMinutesAlarm, tc.m)
				set(r, cmosSecondsAlarm, tc.s)
				set(r, cmosB, tc.b|bAIE)
				if tc.first == 0 {
					if n := after(line, 48*time.Hour); n != 0 {
						t.Errorf("%d interrupts, want none", n)
					}
					return
				}
				if n := after(line, tc.first-time.Nanosecond); n != 0 {
					t.Fatalf("%d interrupts before the alarm", n)
				}
				if n := after(line, time.Nanosecond); n != 1 {
					t.Fatalf("%d interrupts at the alarm, want 1", n)
				}
				if c := get(r, cmosC); c != cIRQF|cAF|cUF {
					t.Errorf("register C reads %#02x, want IRQF, AF and UF", c)
				}
				if n := after(line, tc.next-time.Nanosecond); n != 1 {
					t.Errorf("%d interrupts before the next alarm, want 1", n)
				}
				if n := after(line, time.Nanosecond); n != 2 {
					t.Errorf("%d interrupts at the next alarm, want 2", n)
				}
			})
		})
	}
}

// The flags rise without their enable bits too, for guests that poll.
func TestFlagsWithoutInterrupt(t *testing.T) {
	inBubble(t, func(t *testing.T, r *RTC, line *edges) {
		set(r, cmosSecondsAlarm, 0x30)
		if c := get(r, cmosC); c != 0 {
			t.Errorf("register C reads %#02x, want 0", c)
		}
		time.Sleep(1500 * time.Millisecond)
		if c := get(r, cmosC); c != cUF {
			t.Errorf("register C reads %#02x, want UF", c)
		}
		time.Sleep(24 * time.Hour)
		if c := get(r, cmosC); c != cUF|cAF {
			t.Errorf("register C reads %#02x, want UF and AF", c)
		}
		// A flag that is up interrupts when it is enabled.
		time.Sleep(time.Second)
		set(r, cmosB, b2412|bUIE)
		if n := after(line, 0); n != 1 {
			t.Errorf("%d interrupts, want 1", n)
		}
	})
}

func TestNoInterruptWhileStopped(t *testing.T) {
	inBubble(t, func(t *testing.T, r *RTC, line *edges) {
		for _, at := range []uint8{cmosHoursAlarm, cmosMinutesAlarm, cmosSecondsAlarm} {
			set(r, at, alarmAny)
		}
		set(r, cmosB, b2412|bSET|bAIE|bUIE)
		if n := after(line, time.Minute); n != 0 {
			t.Errorf("%d interrupts with SET, want none", n)
		}
		set(r, cmosB, b2412|bAIE)
		if n := after(line, time.Second); n != 1 {
			t.Errorf("%d interrupts after SET, want 1", n)
		}
		get(r, cmosC)
		r.Close()
		if n := after(line, time.Minute); n != 1 {
			t.Errorf("%d interrupts after Close, want 1", n)
		}
	})
}
