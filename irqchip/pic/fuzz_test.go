package pic

import "testing"

// FuzzPorts lets a guest and its devices do anything. Each operation is two bytes: what and where, then a value. What must hold: nothing
// panics, INTR and what the owner was told agree, and a vector is of the chip that gave it.
func FuzzPorts(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0x00, 0x11, 0x01, 0x30, 0x01, 0x04, 0x01, 0x01, 0x02, 0x11, 0x03, 0x38, 0x03, 0x02, 0x03, 0x01, 0x40, 0x1c, 0x60, 0x00})
	f.Fuzz(func(t *testing.T, ops []byte) {
		b := newSilent(t)
		ports := [8]uint16{MasterCommand, MasterData, SlaveCommand, SlaveData, MasterELCR, SlaveELCR, 0x22, 0xffff}
		for ; len(ops) >= 2; ops = ops[2:] {
			port, v := ports[ops[0]&7], ops[1]
			switch ops[0] >> 5 {
			case 0:
				b.WritePort(port, v)
			case 1:
				v = b.ReadPort(port)
				if port == MasterELCR && v&0x07 != 0 || port == SlaveELCR && v&0x21 != 0 || port == 0x22 && v != 0xff {
					t.Fatalf("port %#x reads %#02x", port, v)
				}
			case 2:
				b.SetLine(int(v&0xf), v&0x10 != 0)
			case 3:
				master, slave := b.master.base, b.slave.base
				if v := b.Acknowledge(); v&0xf8 != master && v&0xf8 != slave && v != 0xff {
					t.Fatalf("vector %#02x of the bases %#02x and %#02x", v, master, slave)
				}
			default:
				b.SetLine(int(int8(v)), ops[0]&1 != 0)
			}
			if b.INTR() != b.out.level {
				t.Fatalf("INTR is %v, the owner was told %v", b.INTR(), b.out.level)
			}
			if b.master.isr&b.master.edges&b.master.lines != b.master.isr&b.master.edges {
				t.Fatal("an edge is latched at an input that is low")
			}
			b.Stats()
		}
	})
}
