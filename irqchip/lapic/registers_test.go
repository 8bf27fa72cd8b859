package lapic

import (
	"bytes"
	"testing"
)

// TestReset: the values of SDM section 11.4.7.1, at power-up and after an APIC in use has been reset.
func TestReset(t *testing.T) {
	b := newBench(t, Config{ID: 0x105, BSP: true})
	check := func() {
		t.Helper()
		for off, want := range map[uint64]uint32{
			0x20: 0x05000000, 0x30: 0x01050014, 0x80: 0, 0x90: 0, 0xa0: 0, 0xd0: 0, 0xe0: 0xffffffff, 0xf0: 0xff, 0x280: 0,
			0x300: 0, 0x310: 0, 0x320: 0x10000, 0x330: 0x10000, 0x340: 0x10000, 0x350: 0x10000, 0x360: 0x10000, 0x370: 0x10000,
			0x380: 0, 0x390: 0, 0x3e0: 0,
		} {
			b.want(b.RegisterName(off, false), b.get(off), want)
		}
		for off := uint64(0x100); off < 0x280; off += 16 {
			b.want(b.RegisterName(off, false), b.get(off), uint32(0))
		}
		base, err := b.ReadMSR(0x1b)
		if err != nil || base != 0xfee00900 {
			t.Errorf("IA32_APIC_BASE is %#x, %v", base, err)
		}
		b.want("error", b.errors(), uint32(0))
	}
	check()
	b.put(0xf0, 0x11ff)
	for off := uint64(0x20); off < 0x400; off += 16 {
		b.put(off, 0xa5a5a5a5)
	}
	b.arrive(0x55, true)
	b.arrive(0x66, true)
	b.Accept()
	b.Descriptor().Post(0x77, false)
	b.Descriptor().PostNMI()
	b.Reset()
	check()
	b.Sync()
	b.want("events after reset", b.Events(), Events{})
	b.want("IRR after reset", b.get(0x230), uint32(0))
}

// TestWritableBits: what a write of all ones, and of zeros, leaves in each register of an enabled APIC.
func TestWritableBits(t *testing.T) {
	for _, c := range []struct {
		off        uint64
		ones, zero uint32
	}{
		{0x20, 0xff000000, 0}, {0x30, 0x01050014, 0x01050014}, {0x80, 0xff, 0}, {0xd0, 0xff000000, 0},
		{0xe0, 0xffffffff, 0x0fffffff}, {0xf0, 0x11ff, 0}, {0x300, 0xccfff &^ (1<<12 | 1<<13), 0}, {0x310, 0xff000000, 0},
		{0x320, 0x700ff, 0}, {0x330, 0x107ff, 0}, {0x340, 0x107ff, 0}, {0x350, 0x1a7ff, 0}, {0x360, 0x1a7ff, 0}, {0x370, 0x100ff, 0},
		{0x390, 0, 0}, {0x3e0, 0xb, 0}, {0x100, 0, 0}, {0x180, 0, 0}, {0x200, 0, 0}, {0xb0, 0, 0}, {0xc0, 0, 0},
	} {
		b := running(t)
		b.put(c.off, 0xffffffff)
		b.want(b.RegisterName(c.off, false)+" after ones", b.get(c.off), c.ones)
		b.put(c.off, 0)
		b.want(b.RegisterName(c.off, false)+" after zeros", b.get(c.off), c.zero)
	}
	b := running(t)
	b.put(0x380, 0xffffffff)
	b.want("TICR", b.get(0x380), uint32(0xffffffff))
}

// TestReservedRegisters: access to them is an error that ESR tells, and nothing else.
func TestReservedRegisters(t *testing.T) {
	reserved := map[uint64]bool{
		0x00: true, 0x10: true, 0x40: true, 0x50: true, 0x60: true, 0x70: true, 0x290: true, 0x2a0: true, 0x2b0: true, 0x2c0: true,
		0x2d0: true, 0x2e0: true, 0x2f0: true, 0x3a0: true, 0x3b0: true, 0x3c0: true, 0x3d0: true, 0x3f0: true,
	}
	for off := uint64(0); off < 0x1000; off += 16 {
		want := uint32(0)
		if reserved[off] || off >= 0x400 {
			want = 0x80
		}
		b := running(t)
		v := b.get(off)
		if b.want("ESR after a read", b.errors(), want); want != 0 {
			b.want("a reserved register", v, uint32(0))
		}
		if off == 0x300 {
			continue // an illegal vector is another error
		}
		b.put(off, 0)
		if got := b.errors(); got != want {
			t.Errorf("ESR after a write to %#x is %#x, want %#x", off, got, want)
		}
	}
}

// TestWidths: registers are written whole, read whole or in parts, and nothing beside them answers.
func TestWidths(t *testing.T) {
	b := running(t)
	b.put(0x380, 0x44332211)
	for _, c := range []struct {
		off  uint64
		want []byte
	}{
		{0x380, []byte{0x11}}, {0x383, []byte{0x44}}, {0x382, []byte{0x33, 0x44}}, {0x383, []byte{0x44, 0}},
		{0x380, []byte{0x11, 0x22, 0x33, 0x44, 0, 0, 0, 0}}, {0x384, []byte{0, 0, 0, 0}}, {0x38c, []byte{0, 0, 0, 0, 0, 0, 0, 0}}, {0x380, nil},
		{0x1000, []byte{0xff, 0xff, 0xff, 0xff}}, {^uint64(0), []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
	} {
		p := make([]byte, len(c.want))
		if b.Read(c.off, p); !bytes.Equal(p, c.want) {
			t.Errorf("%d bytes at %#x read %x, want %x", len(p), c.off, p, c.want)
		}
	}
	for _, c := range []struct {
		off  uint64
		p    []byte
		want uint32
	}{
		{0x80, []byte{1}, 0}, {0x80, []byte{1, 0}, 0}, {0x81, []byte{1, 1, 1, 1}, 0}, {0x84, []byte{1, 1, 1, 1}, 0}, {0x7c, []byte{1, 1, 1, 1, 1, 1, 1, 1}, 0},
		{0x80, nil, 0}, {0x1080, []byte{1, 1, 1, 1}, 0}, {^uint64(0), []byte{1, 1, 1, 1}, 0},
		{0x80, []byte{0x21, 0, 0, 0}, 0x21}, {0x80, []byte{0x32, 0, 0, 0, 9, 9, 9, 9}, 0x32},
	} {
		b.put(0x80, 0)
		b.Write(c.off, c.p)
		b.want("TPR", b.get(0x80), c.want)
	}
	b.want("error", b.errors(), uint32(0))
}

// TestX2APICRegisters: every MSR of the range, by the manual's table.
func TestX2APICRegisters(t *testing.T) {
	rw := map[uint32]uint64{ // the bits that a write may set
		0x808: 0xff, 0x80b: 0, 0x80f: 0x11ff, 0x828: 0, 0x830: 0xffffffff000cdfff, 0x832: 0x710ff, 0x833: 0x117ff, 0x834: 0x117ff,
		0x835: 0x1f7ff, 0x836: 0x1f7ff, 0x837: 0x110ff, 0x838: 0xffffffff, 0x83e: 0xb, 0x83f: 0xff,
	}
	readable := map[uint32]bool{
		0x802: true, 0x803: true, 0x808: true, 0x80a: true, 0x80d: true, 0x80f: true, 0x828: true, 0x830: true, 0x838: true, 0x839: true,
		0x83e: true,
	}
	for m := uint32(0x810); m < 0x828; m++ {
		readable[m] = true
	}
	for m := uint32(0x832); m < 0x838; m++ {
		readable[m] = true
	}
	for m := uint32(0x800); m < 0x900; m++ {
		b := running(t)
		if _, err := b.ReadMSR(m); err != ErrGP {
			t.Errorf("RDMSR %#x in xAPIC mode: %v", m, err)
		}
		if b.WriteMSR(m, 0) != ErrGP {
			t.Errorf("WRMSR %#x in xAPIC mode does not fault", m)
		}
		b.x2()
		if _, err := b.ReadMSR(m); (err == nil) != readable[m] {
			t.Errorf("RDMSR %#x: %v", m, err)
		}
		bits, writable := rw[m]
		if err := b.WriteMSR(m, 0); (err == nil) != writable {
			t.Errorf("WRMSR %#x: %v", m, err)
		}
		for i := range 64 {
			b := running(t)
			b.x2()
			if err := b.WriteMSR(m, 1<<i); (err == nil) != (writable && bits>>i&1 != 0) {
				t.Errorf("WRMSR %#x of bit %d: %v", m, i, err)
			}
		}
	}
	if !IsMSR(0x1b) || !IsMSR(0x6e0) || !IsMSR(0x800) || !IsMSR(0x8ff) || IsMSR(0x7ff) || IsMSR(0x900) || IsMSR(0) {
		t.Error("IsMSR")
	}
	b := newBench(t, Config{})
	for _, m := range []uint32{0, 0x7ff, 0x900, 0xffffffff} {
		if _, err := b.ReadMSR(m); err != ErrGP {
			t.Errorf("RDMSR %#x: %v", m, err)
		}
		if b.WriteMSR(m, 0) != ErrGP {
			t.Errorf("WRMSR %#x does not fault", m)
		}
	}
}

// TestX2APICIdentity: the ID has 32 bits and the LDR follows from it.
func TestX2APICIdentity(t *testing.T) {
	b := newBench(t, Config{ID: 0x12345, BSP: true})
	b.put(0x20, 0xaa000000)
	b.put(0x310, 0x77000000)
	b.put(0x80, 0x33)
	b.x2()
	for m, want := range map[uint32]uint64{0x802: 0x12345, 0x80d: 0x1234_0020, 0x803: 0x01050014, 0x830: 0, 0x808: 0x33} {
		if v, err := b.ReadMSR(m); err != nil || v != want {
			t.Errorf("MSR %#x is %#x, %v, want %#x", m, v, err, want)
		}
	}
	b.want("the page in x2APIC mode", b.get(0x30), uint32(0xffffffff))
	b.put(0x80, 0x44)
	b.want("TPR after a write to the page", b.CR8(), uint8(3))
	if _, ok := b.Page(); ok {
		t.Error("there is a page in x2APIC mode")
	}
}

// TestBase: which writes to IA32_APIC_BASE are good from which mode.
func TestBase(t *testing.T) {
	const en, extd = 1 << 11, 1 << 10
	for _, c := range []struct {
		from AddressingMode
		v    uint64
		ok   bool
	}{
		{XAPIC, en, true}, {XAPIC, en | extd, true}, {XAPIC, 0, true}, {XAPIC, extd, false},
		{X2APIC, en, false}, {X2APIC, en | extd, true}, {X2APIC, 0, true}, {X2APIC, extd, false},
		{Disabled, en, true}, {Disabled, en | extd, false}, {Disabled, 0, true}, {Disabled, extd, false},
		{XAPIC, en | 1, false}, {XAPIC, en | 1<<9, false}, {XAPIC, en | 1<<36, false}, {XAPIC, en | 1<<35 | 1<<8, true}, {XAPIC, en | 1<<63, false},
	} {
		b := newBench(t, Config{PhysBits: 36, ID: 7})
		switch c.from {
		case X2APIC:
			b.x2()
		case Disabled:
			if err := b.WriteMSR(0x1b, 0); err != nil {
				t.Fatal(err)
			}
		}
		before, _ := b.ReadMSR(0x1b)
		err := b.WriteMSR(0x1b, c.v)
		after, _ := b.ReadMSR(0x1b)
		switch {
		case (err == nil) != c.ok:
			t.Errorf("from %v, %#x: %v", c.from, c.v, err)
		case err == nil && after != c.v, err != nil && after != before:
			t.Errorf("from %v, %#x leaves %#x", c.from, c.v, after)
		}
	}
}

// TestDisable: an APIC that is disabled in hardware loses its state, and comes back as after power-up.
func TestDisable(t *testing.T) {
	var moves []Address
	b := newBench(t, Config{ID: 7, BSP: true, Moved: func(a Address) { moves = append(moves, a) }})
	b.put(0xf0, 0x1ff)
	b.put(0x20, 0x09000000)
	b.put(0xd0, 0x02000000)
	b.put(0xe0, 0)
	b.put(0x80, 0x20)
	b.arrive(0x55, false)
	b.Descriptor().Post(0x66, false)
	if err := b.WriteMSR(0x1b, 0xfee00100); err != nil {
		t.Fatal(err)
	}
	b.want("pending while disabled", b.pending(), -1)
	b.arrive(0x77, false)
	b.want("page while disabled", b.get(0x30), uint32(0xffffffff))
	if err := b.WriteMSR(0x1b, 0xfed00900); err != nil {
		t.Fatal(err)
	}
	if at, ok := b.Page(); at != 0xfed00000 || !ok {
		t.Errorf("the page is at %#x, %v", at, ok)
	}
	b.want("SVR", b.get(0xf0), uint32(0xff))
	b.want("TPR", b.get(0x80), uint32(0))
	b.want("ID", b.get(0x20), uint32(7<<24))
	b.put(0xf0, 0x1ff)
	b.Sync()
	b.want("pending", b.pending(), -1)
	want := []Address{
		{XAPIC, 7, 0, 15}, {XAPIC, 9, 0, 15}, {XAPIC, 9, 2, 15}, {XAPIC, 9, 2, 0}, {}, {XAPIC, 7, 0, 15},
	}
	if len(moves) != len(want) {
		t.Fatalf("moved %v, want %v", moves, want)
	}
	for i := range want {
		if moves[i] != want[i] {
			t.Errorf("move %d to %v, want %v", i, moves[i], want[i])
		}
	}
	for _, v := range b.Stats().Vectors {
		if v.Raised != 1 || v.Dropped != 1 {
			t.Errorf("vector %#x: %+v", v.Vector, v)
		}
	}
}
