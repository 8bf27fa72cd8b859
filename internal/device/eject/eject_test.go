package eject

import (
	"encoding/binary"
	"testing"
)

type line int

func (l *line) Raise() { *l++ }

func read(r *Register) uint32 {
	p := make([]byte, 4)
	r.Read(0, p)
	return binary.LittleEndian.Uint32(p)
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestRequest(t *testing.T) {
	var l line
	r := New(&l)
	eight, nine := r.Request(8), r.Request(9)
	if got := read(r); got != 0x300 || l != 2 {
		t.Errorf("%#x after %d interrupts", got, l)
	}
	r.Write(0, []byte{0, 1, 0, 0})
	if got := read(r); got != 0x200 || !closed(eight) || closed(nine) {
		t.Errorf("%#x, %v, %v", got, closed(eight), closed(nine))
	}
	again := r.Request(8)
	if got := read(r); got != 0x300 || closed(again) {
		t.Errorf("asked again: %#x", got)
	}
	r.Write(1, []byte{3}) // a byte of it
	if got := read(r); got != 0 || !closed(again) || !closed(nine) {
		t.Errorf("%#x", got)
	}
}

// FuzzGuest: whatever the guest writes where, only devices that were asked for go, and each once.
func FuzzGuest(f *testing.F) {
	f.Add(uint32(0x300), []byte{0, 0, 3, 0xff, 4, 0xff})
	f.Fuzz(func(t *testing.T, asked uint32, accesses []byte) {
		var l line
		r := New(&l)
		gone := map[int]<-chan struct{}{}
		for n := range 32 {
			if asked>>n&1 != 0 {
				gone[n] = r.Request(n)
			}
		}
		for len(accesses) >= 2 {
			off, n := uint64(accesses[0]), min(int(accesses[1]%9), len(accesses)-2)
			r.Write(off, accesses[2:2+n])
			p := make([]byte, accesses[1]%9)
			r.Read(off, p)
			accesses = accesses[2+n:]
		}
		left := read(r)
		if left&^asked != 0 {
			t.Fatalf("%#x was asked for, %#x is", asked, left)
		}
		for n, c := range gone {
			if closed(c) == (left>>n&1 != 0) {
				t.Errorf("device %d: gone %v, register %#x", n, closed(c), left)
			}
		}
	})
}
