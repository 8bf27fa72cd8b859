package pit

import "testing"

// FuzzPorts lets a guest do anything while time passes in steps of all sizes, forwards and backwards. Each operation is two bytes. What
// must hold: nothing panics, a deadline is kept (no rise before it, one at it), and the next one comes after it.
func FuzzPorts(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0x03, 0x34, 0x00, 0x9c, 0x00, 0x2e, 0x40, 14, 0x10, 0, 0x03, 0x00, 0x10, 0, 0x10, 0})
	f.Add([]byte{0x04, 0x00, 0x03, 0xb0, 0x02, 0xff, 0x02, 0xff, 0x04, 0x01, 0x40, 16, 0x14, 0, 0x03, 0xe8, 0x12, 0})
	f.Add([]byte{0x03, 0x17, 0x00, 0x01, 0x40, 63, 0x03, 0x1a, 0x60, 40, 0x00, 0xff, 0x40, 3})
	f.Fuzz(func(t *testing.T, ops []byte) {
		p := New()
		ports := [8]uint16{Counter0, Counter1, Counter2, Control, SystemControl, 0x44, 0, 0xffff}
		var now uint64
		for ; len(ops) >= 2; ops = ops[2:] {
			port, v := ports[ops[0]&7], ops[1]
			switch ops[0] >> 4 & 7 {
			case 0:
				p.WritePort(port, v, now)
			case 1:
				p.ReadPort(port, now)
			case 4:
				now += 1 << (v & 63)
			case 6:
				now -= 1 << (v & 63)
			default:
				now += uint64(v)
			}
			for i := range p.counters {
				if c := &p.counters[i]; c.left > 1<<16 || c.ce() >= c.modulus() {
					t.Fatalf("counter %d: %d pulses left, CE %d", i, c.left, c.ce())
				}
			}
			if ops[0]&0x80 == 0 {
				continue
			}
			p.Advance(now)
			at, ok := p.Next(now)
			if !ok || pulses(at) < p.counters[0].at || at == ^uint64(0) {
				continue // nothing to come, or beyond the end of time
			}
			if at > now {
				if n := p.Advance(at - 1); n != 0 {
					t.Fatalf("%d rises before the deadline", n)
				}
			}
			if n := p.Advance(at); n != 1 {
				t.Fatalf("%d rises at the deadline", n)
			}
			if next, ok := p.Next(at); ok && next <= at {
				t.Fatalf("a deadline at %d after one at %d", next, at)
			}
			now = at
		}
	})
}
