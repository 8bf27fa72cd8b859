package uart

import (
	"testing"
)

// FuzzAccess lets a guest and a far end do anything. Each operation is two
// bytes: offset, width and direction, then a value. What must hold: nothing
// panics or hangs, and the receiver never holds more than it can.
func FuzzAccess(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0x04, 0x0b, 0x01, 0x0f, 0x02, 0xc1, 0x00, 'x', 0x42, 0, 0x45, 0})
	f.Add([]byte{0x04, 0x1f, 0x00, 1, 0x00, 2, 0x45, 0, 0x40, 0})
	f.Add([]byte{0x04, 0x02, 0x80, 20, 0x45, 0, 0x70, 0, 0x78, 0, 0x38, 0xff})
	f.Fuzz(func(t *testing.T, ops []byte) {
		line := new(edges)
		u := New(Config{Line: line})
		defer u.Abort()
		input := 0
		for ; len(ops) >= 2; ops = ops[2:] {
			op, v := ops[0], ops[1]
			off := uint64(op & 0xf)
			width := 1 << (op >> 4 & 3)
			before := line.n
			switch {
			case op&0x80 != 0:
				// Input waits for the guest once the backlog is full.
				n := int(v) % 32
				if input += n; input > backlogSize {
					return
				}
				if _, err := u.Input(make([]byte, n)); err != nil {
					t.Fatal(err)
				}
				width = 1
			case op&0x40 != 0:
				b := make([]byte, width)
				u.Read(off, b)
				for i := range b {
					if off+uint64(i) >= Size && b[i] != 0xff {
						t.Fatalf("offset %d reads %#x", off+uint64(i), b[i])
					}
				}
			default:
				b := make([]byte, width)
				for i := range b {
					b[i] = v + byte(i)
				}
				u.Write(off, b)
			}
			if d := line.n - before; d > 2*width {
				t.Fatalf("one access of %d bytes raised the line %d times", width, d)
			}
			if u.rx.n < 0 || u.rx.n > fifoDepth || !u.rx.deep && u.rx.n > 1 || u.in.n < 0 || u.in.n > backlogSize {
				t.Fatalf("receiver: %d characters in the FIFO (enabled: %v), %d in the backlog", u.rx.n, u.rx.deep, u.in.n)
			}
		}
	})
}
