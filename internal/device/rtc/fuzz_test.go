package rtc

import (
	"testing"
	"time"
)

// FuzzAccess lets a guest write anything while time passes in jumps. After each
// access the clock must still show a time: digits in range, whatever was
// written into it.
func FuzzAccess(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0x0b, 0x82, 0x09, 0xff, 0x32, 0xff, 0x08, 0xff, 0x0b, 0x02})
	f.Add([]byte{0x0b, 0x32, 0x05, 0xc0, 0x03, 0xc0, 0x01, 0xc0, 0x8c, 0x05})
	f.Add([]byte{0x04, 0x92, 0x0b, 0x80, 0x04, 0x92, 0x0b, 0x04})
	f.Fuzz(func(t *testing.T, ops []byte) {
		now := time.Date(2026, 11, 23, 17, 5, 59, 0, time.UTC)
		r := New(func() time.Time { return now }, new(edges))
		defer r.Close()
		for ; len(ops) >= 2; ops = ops[2:] {
			at, v := ops[0], ops[1]
			switch {
			case at == 0xff:
				r.mu.Lock()
				now = now.Add(time.Duration(v) * time.Hour)
				r.mu.Unlock()
			case at&0x80 != 0:
				p := make([]byte, 1<<(v&3))
				r.Write(portIndex, []byte{at})
				r.Read(uint64(v>>2&3), p)
			default:
				r.Write(uint64(v&1), []byte{v, at, v, at}[:1<<(v&1)])
				set(r, at, v)
			}
			b := get(r, cmosB)
			if b&bSET != 0 {
				continue
			}
			d := date(r)
			for i, limit := range [...]int{59, 59, 23, 7, 31, 12, 99, 99} {
				got := r.decode(d[i])
				if i == 2 {
					got = r.decodeHour(d[i])
				}
				if got < 0 || got > limit || b&bDM == 0 && i != 2 && d[i]&0xf > 9 {
					t.Fatalf("register %#02x shows %#02x with B=%#02x", timeRegisters[i], d[i], b)
				}
			}
			if d[3] == 0 || d[4] == 0 || d[5] == 0 {
				t.Fatalf("day of week, day and month % x: none can be 0", d[3:6])
			}
		}
	})
}
