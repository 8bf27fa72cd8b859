package virtio

import (
	"encoding/binary"
	"testing"

	"pgregory.net/rapid"
)

// step does one thing that a driver, or the device's thread, could do; eight bytes choose it.
func (g *guest) step(b [8]byte) {
	off, width, v := uint64(b[1]), 1<<(b[2]&3), uint64(binary.LittleEndian.Uint32(b[3:]))
	switch b[0] % 12 {
	case 0, 1: // the common configuration
		g.write(off%64, width, v|uint64(b[7])<<32)
	case 2:
		g.read(off%64, width)
	case 3: // MSI-X, through its BAR
		g.bar(1).Write(off%0x50, binary.LittleEndian.AppendUint64(nil, v<<20|uint64(b[7]))[:width])
	case 4:
		g.bar(1).Read(off%0x50, make([]byte, width))
	case 5: // configuration space: command, BARs, message control, the access window
		width = min(width, 4)
		g.configWrite(int(off)&^(width-1), binary.LittleEndian.AppendUint32(nil, uint32(v))[:width]...)
	case 6:
		width = min(width, 4)
		g.configRead(int(off)&^(width-1), width)
	case 7: // kicks, ISR, device configuration, the rest of the BAR
		g.write(off<<4|uint64(b[7]&0xf), width, v)
		g.read(off<<4|uint64(b[7]&0xf), width)
	case 8:
		g.device.work()
	case 9:
		g.device.host.ConfigChanged()
	case 10: // memory: rings and buffers
		copy(g.ram[int(off)<<8|int(b[2]):], b[3:])
	case 11: // what takes a driver many steps
		switch b[1] % 4 {
		case 0:
			g.negotiate(FeatureVersion1 | v&0x30000000 | uint64(b[7]&1)<<34 | uint64(b[7]&2)<<39)
		case 1:
			g.setQueue(int(b[2]&1), 1<<(b[3]&7))
		case 2:
			g.enableMSIX()
		case 3:
			g.write(20, 1, 0xf)
		}
	}
	if s := g.t.status.Load(); s&statusDriverOK != 0 && s&statusFeaturesOK == 0 || s > 0xff {
		g.tb.Fatalf("status %#x", s)
	}
	if len(g.faults) > 1000 {
		g.faults = g.faults[:0]
	}
}

func (g *guest) run(input []byte) {
	for ; len(input) >= 8; input = input[8:] {
		g.step([8]byte(input))
	}
	g.close()
}

// seedStart brings the device up with a buffer in each queue, kicks, and lets the device work.
var seedStart = []byte{
	11, 2, 0, 0, 0, 0, 0, 0,
	5, 4, 1, 6, 0, 0, 0, 0,
	0, 16, 1, 0, 0, 0, 0, 0,
	11, 0, 0, 0, 0, 0, 0x30, 2,
	11, 1, 0, 3, 0, 0, 0, 0,
	11, 1, 1, 3, 0, 0, 0, 0,
	11, 3, 0, 0, 0, 0, 0, 0,
	10, 0x10, 0, 0, 0x20, 0, 0, 0,
	10, 0x10, 8, 4, 0, 0, 0, 0,
	10, 0x60, 2, 1, 0, 0, 0, 0,
	7, 0x40, 1, 0, 0, 0, 0, 0,
	8, 0, 0, 0, 0, 0, 0, 0,
	9, 0, 0, 0, 0, 0, 0, 0,
}

func FuzzCommonConfig(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{20, 1, 1, 0, 0, 0, 20, 1, 3, 0, 0, 0, 8, 4, 1, 0, 0, 0, 12, 4, 1, 0, 0, 0, 20, 1, 0xb, 0, 0, 0, 28, 2, 1, 0, 0, 0, 20, 1, 0xf, 0, 0, 0})
	f.Add([]byte{22, 2, 1, 0, 0, 0, 24, 4, 0xff, 0xff, 0xff, 0xff, 32, 8, 0xff, 0xff, 0xff, 0xff, 58, 2, 1, 0, 0, 0, 20, 1, 0, 0, 0, 0})
	f.Add([]byte{0, 4, 0xff, 0xff, 0xff, 0xff, 4, 4, 1, 1, 1, 1, 8, 4, 2, 0, 0, 0, 12, 4, 9, 9, 9, 9, 16, 2, 5, 0, 0, 0, 57, 8, 1, 1, 1, 1})
	f.Fuzz(func(t *testing.T, input []byte) {
		g := newGuest(t)
		for ; len(input) >= 6; input = input[6:] {
			off, width := uint64(input[0]%64), int(input[1]%8+1)
			v := uint64(binary.LittleEndian.Uint32(input[2:]))
			g.write(off, width, v|v<<32)
			g.read(off, width)
			g.device.work()
			if n := g.read(18, 2); n != 2 {
				t.Fatalf("num_queues became %d", n)
			}
			if len(g.faults) > 1000 {
				g.faults = g.faults[:0]
			}
		}
		g.close()
	})
}

// FuzzTransport plays the driver on all registers at once: configuration space, BARs on the move, MSI-X, the queues and their memory.
func FuzzTransport(f *testing.F) {
	f.Add([]byte{})
	f.Add(seedStart)
	f.Add(append(append([]byte(nil), seedStart...), seedStart...))
	f.Add(append(append([]byte(nil), seedStart...),
		3, 12, 2, 0xff, 0xff, 0xff, 0xff, 0xff, // table full of ones
		3, 0, 3, 0xff, 0xff, 0xff, 0xff, 0xff,
		5, 0x12, 0, 0, 0, 0, 0, 0, // BAR over RAM
		5, 0x13, 0, 0, 0, 0, 0, 0,
		10, 0x60, 2, 0xff, 0xff, 0, 0, 0, // avail index
		8, 0, 0, 0, 0, 0, 0, 0,
		0, 20, 0, 0, 0, 0, 0, 0))
	f.Fuzz(func(t *testing.T, input []byte) { newGuest(t).run(input) })
}

// TestTransportStates is FuzzTransport's machine with steps that rapid draws and shrinks.
func TestTransportStates(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		g := newGuest(rt)
		if rapid.Bool().Draw(rt, "started") {
			for in := seedStart; len(in) > 0; in = in[8:] {
				g.step([8]byte(in))
			}
		}
		for _, op := range rapid.SliceOfN(rapid.Uint64(), 0, 60).Draw(rt, "steps") {
			g.step([8]byte(binary.LittleEndian.AppendUint64(nil, op)))
		}
		g.close()
	})
}
