package rtc

import (
	"testing"
	"time"
)

// host is a clock that a test sets.
type host struct{ t time.Time }

func (h *host) now() time.Time { return h.t }

func get(r *RTC, at uint8) uint8 {
	r.Write(portIndex, []byte{at})
	var b [1]byte
	r.Read(portData, b[:])
	return b[0]
}

func set(r *RTC, at, v uint8) { r.Write(portIndex, []byte{at, v}) }

// date reads the time registers as they are.
func date(r *RTC) [8]uint8 {
	var d [8]uint8
	for i, at := range timeRegisters {
		d[i] = get(r, at)
	}
	return d
}

func newAt(t *testing.T, at string) (*RTC, *host) {
	t.Helper()
	when, err := time.Parse(time.RFC3339Nano, at)
	if err != nil {
		t.Fatal(err)
	}
	h := &host{when}
	r := New(h.now, nil)
	t.Cleanup(r.Close)
	return r, h
}

func TestTime(t *testing.T) {
	for _, tc := range []struct {
		at   string
		b    uint8
		want [8]uint8 // seconds, minutes, hours, day of week, day, month, year, century
	}{
		{"2026-11-23T17:05:59Z", b2412, [8]uint8{0x59, 0x05, 0x17, 2, 0x23, 0x11, 0x26, 0x20}},
		{"2026-11-23T17:05:59Z", b2412 | bDM, [8]uint8{59, 5, 17, 2, 23, 11, 26, 20}},
		{"2026-11-23T17:05:59Z", 0, [8]uint8{0x59, 0x05, 0x85, 2, 0x23, 0x11, 0x26, 0x20}},
		{"2026-11-23T17:05:59Z", bDM, [8]uint8{59, 5, 0x85, 2, 23, 11, 26, 20}},
		{"1999-12-31T23:59:59Z", b2412, [8]uint8{0x59, 0x59, 0x23, 6, 0x31, 0x12, 0x99, 0x19}},
		{"2000-01-01T00:00:00Z", 0, [8]uint8{0, 0, 0x12, 7, 1, 1, 0, 0x20}},
		{"2000-01-01T12:00:00Z", 0, [8]uint8{0, 0, 0x92, 7, 1, 1, 0, 0x20}},
		{"2024-02-29T11:00:00Z", 0, [8]uint8{0, 0, 0x11, 5, 0x29, 2, 0x24, 0x20}},
	} {
		r, _ := newAt(t, tc.at)
		set(r, cmosB, tc.b)
		if got := date(r); got != tc.want {
			t.Errorf("%s with B=%#02x reads % x, want % x", tc.at, tc.b, got, tc.want)
		}
	}
}

// The sequence of Linux's mc146818_set_time.
func TestSetTime(t *testing.T) {
	for _, mode := range []uint8{b2412, b2412 | bDM, 0, bDM} {
		r, h := newAt(t, "2026-11-23T17:05:59.5Z")
		set(r, cmosB, mode)
		set(r, cmosB, mode|bSET)
		set(r, cmosA, 0x70)
		d := [8]uint8{0x30, 0x15, 0x04, 3, 0x28, 0x02, 0x31, 0x20}
		if mode&bDM != 0 {
			d = [8]uint8{30, 15, 4, 3, 28, 2, 31, 20}
		}
		for i, at := range timeRegisters {
			set(r, at, d[i])
		}
		h.t = h.t.Add(time.Hour) // stands still meanwhile
		if got := date(r); got != d {
			t.Errorf("mode %#02x, stopped: % x, want % x", mode, got, d)
		}
		set(r, cmosA, aReset)
		set(r, cmosB, mode)
		if got := date(r); got != d {
			t.Errorf("mode %#02x, started: % x, want % x", mode, got, d)
		}
		h.t = h.t.Add(24*time.Hour + 30*time.Second) // 2031-03-01, a leap year it is not
		want := [8]uint8{0, d[1] + 1, d[2], 4, 1, 3, d[6], d[7]}
		if got := date(r); got != want {
			t.Errorf("mode %#02x, a day later: % x, want % x", mode, got, want)
		}
	}
}

func TestSetWhileRunning(t *testing.T) {
	r, h := newAt(t, "2026-11-23T17:05:59Z")
	set(r, cmosHours, 0x08)
	set(r, cmosCentury, 0x19)
	h.t = h.t.Add(time.Second)
	if got, want := date(r), [8]uint8{0, 6, 8, 2, 0x23, 0x11, 0x26, 0x19}; got != want {
		t.Errorf("reads % x, want % x", got, want)
	}
}

// UIP announces each update, and none can catch the guest waiting forever.
func TestUIP(t *testing.T) {
	for _, tc := range []struct {
		at  string
		uip bool
	}{
		{"2026-11-23T17:05:59Z", false}, {"2026-11-23T17:05:59.999755Z", false},
		{"2026-11-23T17:05:59.999757Z", true}, {"2026-11-23T17:05:59.999999Z", true},
	} {
		r, _ := newAt(t, tc.at)
		if got := get(r, cmosA); got&aUIP != 0 != tc.uip || got&^aUIP != aReset {
			t.Errorf("%s: register A reads %#02x, want UIP %v", tc.at, got, tc.uip)
		}
		set(r, cmosB, bSET)
		if got := get(r, cmosA); got != aReset {
			t.Errorf("%s: stopped, register A reads %#02x", tc.at, got)
		}
	}
}

func TestRAMAndControl(t *testing.T) {
	r, _ := newAt(t, "2026-11-23T17:05:59Z")
	for at := uint8(0x0e); at < 0x80; at++ {
		if at != cmosCentury {
			set(r, at|0x80, at^0x55) // with the NMI bit
		}
	}
	for at := uint8(0x0e); at < 0x80; at++ {
		if got := get(r, at); at != cmosCentury && got != at^0x55 {
			t.Errorf("byte %#02x reads %#02x, want %#02x", at, got, at^0x55)
		}
	}
	for _, tc := range []struct{ at, write, want uint8 }{
		{cmosA, 0xff, 0x7f}, {cmosB, 0x7f, 0x7f}, {cmosC, 0xff, 0}, {cmosD, 0, dVRT}, {cmosD, 0xff, dVRT},
		{cmosB, 0xff, 0xff &^ bUIE},
	} {
		set(r, tc.at, tc.write)
		if got := get(r, tc.at); got != tc.want {
			t.Errorf("register %#02x written with %#02x reads %#02x, want %#02x", tc.at, tc.write, got, tc.want)
		}
	}
}

func TestAccessWidths(t *testing.T) {
	r, _ := newAt(t, "2026-11-23T17:05:59Z")
	r.Write(portIndex, []byte{0x40, 0x12, 0x34, 0x56})
	p := make([]byte, 4)
	r.Read(portIndex, p)
	if string(p) != "\xff\x12\xff\xff" {
		t.Errorf("4 bytes from the index port: % x", p)
	}
	r.Read(portData, p)
	if string(p) != "\x12\xff\xff\xff" {
		t.Errorf("4 bytes from the data port: % x", p)
	}
	r.Read(^uint64(0), p)
	if string(p) != "\xff\xff\xff\xff" {
		t.Errorf("beyond the ports: % x", p)
	}
	if r.RegisterName(0, true) != "INDEX" || r.RegisterName(1, false) != "DATA" || r.RegisterName(2, false) != "0x2" {
		t.Error("register names are wrong")
	}
}

func TestNoAllocation(t *testing.T) {
	r := New(time.Now, nil)
	defer r.Close()
	set(r, cmosB, b2412|bUIE|bAIE)
	p := make([]byte, 1)
	n := testing.AllocsPerRun(200, func() {
		for at := range uint8(0x80) {
			p[0] = at
			r.Write(portIndex, p)
			r.Read(portData, p)
			if at != cmosB {
				r.Write(portData, p)
			}
		}
	})
	if n != 0 {
		t.Errorf("%v allocations per run, want none", n)
	}
}
