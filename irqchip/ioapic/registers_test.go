package ioapic

import (
	"bytes"
	"testing"
)

// TestReset: the values that the data sheets give, before and after a reset of a chip in use.
func TestReset(t *testing.T) {
	b := newBench(t, Config{})
	check := func() {
		t.Helper()
		b.want("IOREGSEL", b.in(0x00), 0)
		b.want("IOAPICID", b.get(0), 0)
		b.want("IOAPICVER", b.get(1), 0x00170020)
		b.want("IOAPICARB", b.get(2), 0)
		for pin := range uint32(Pins) {
			b.want("lower half", b.get(0x10+2*pin), 0x00010000)
			b.want("upper half", b.get(0x11+2*pin), 0)
		}
	}
	check()
	b.set(0, 0xffffffff)
	for pin := range Pins {
		b.program(pin, level|0x40, 1)
		b.SetPin(pin, true)
	}
	b.Reset()
	check()
	b.sends("a line that stays asserted, with its entry programmed anew", func() { b.program(5, level|0x40, 1) }, 0x40)
}

func TestIdentification(t *testing.T) {
	b := newBench(t, Config{})
	b.set(0, 0xffffffff)
	b.want("IOAPICID", b.get(0), 0x0f008000)
	b.want("IOAPICARB is loaded with IOAPICID", b.get(2), 0x0f000000)
	b.set(2, 0)
	b.set(1, 0)
	b.want("IOAPICARB after a write to it", b.get(2), 0x0f000000)
	b.want("IOAPICVER after a write to it", b.get(1), 0x00170020)
}

// TestReservedRegisters: they read 0 and forget what is written.
func TestReservedRegisters(t *testing.T) {
	b := newBench(t, Config{})
	for index := uint32(3); index < 0x100; index++ {
		if index >= 0x10 && index < 0x40 {
			continue
		}
		b.set(index, 0xffffffff)
		b.want("reserved register", b.get(index), 0)
	}
	b.want("index", b.in(0), 0xff)
	b.out(0, 0x12345601)
	b.want("index has 8 bits", b.in(0), 1)
	for _, off := range []uint64{0x04, 0x0c, 0x14, 0x20, 0x3c, 0x40, 0x44, 0xfc} {
		b.out(off, 0xffffffff)
		b.want("reserved offset", b.in(off), 0)
	}
}

// TestReadOnlyBits: delivery status, remote IRR and the reserved bits of an entry.
func TestReadOnlyBits(t *testing.T) {
	b := newBench(t, Config{})
	for pin := range uint32(Pins) {
		b.set(0x11+2*pin, 0xffffffff)
		b.set(0x10+2*pin, 0xffffffff)
		b.want("upper half", b.get(0x11+2*pin), 0xffff0000)
		b.want("lower half", b.get(0x10+2*pin), 0x0001afff)
	}
	b.program(3, level|0x50, 0)
	b.SetPin(3, true)
	b.want("in service", b.low(3), level|remoteIRR|0x50)
	b.set(0x16, level|0x50)
	b.want("remote IRR after a write of 0 to it", b.low(3), level|remoteIRR|0x50)
}

// TestWidths: IOREGSEL and EOI are bytes, IOWIN is a doubleword, and what is wider is several accesses.
func TestWidths(t *testing.T) {
	b := newBench(t, Config{})
	for _, c := range []struct {
		what string
		off  uint64
		p    []byte
		sel  uint32
		id   uint32 // IOAPICID afterwards; the chip starts with 5 in it, and IOREGSEL 0
	}{
		{"byte at IOREGSEL", 0x00, []byte{0x11}, 0x11, 5 << 24},
		{"word at IOREGSEL", 0x00, []byte{0x11, 0xff}, 0x11, 5 << 24},
		{"beside IOREGSEL", 0x01, []byte{0xff}, 0, 5 << 24},
		{"quadword at IOREGSEL", 0x00, []byte{0x12, 0, 0, 0, 1, 2, 3, 4}, 0x12, 5 << 24},
		{"byte at IOWIN", 0x10, []byte{0xff}, 0, 5 << 24},
		{"upper byte of IOWIN", 0x13, []byte{7}, 0, 5 << 24},
		{"word of IOWIN", 0x12, []byte{0, 7}, 0, 5 << 24},
		{"doubleword half in IOWIN", 0x0e, []byte{1, 1, 1, 1}, 0, 5 << 24},
		{"doubleword half out of IOWIN", 0x12, []byte{0, 7, 0, 0}, 0, 5 << 24},
		{"doubleword at IOWIN", 0x10, []byte{0, 0, 0, 7}, 0, 7 << 24},
		{"quadword at IOWIN", 0x10, []byte{0, 0, 0, 7, 1, 2, 3, 4}, 0, 7 << 24},
		{"quadword that ends in IOWIN", 0x0c, []byte{1, 2, 3, 4, 0, 0, 0, 7}, 0, 7 << 24},
		{"nothing", 0x10, nil, 0, 5 << 24},
		{"past the window", 0x100, []byte{1, 2, 3, 4}, 0, 5 << 24},
		{"the end of the address space", 0xffffffffffffffff, []byte{1, 2, 3, 4, 5, 6, 7, 8}, 0, 5 << 24},
	} {
		b.set(0, 5<<24)
		b.Write(c.off, c.p)
		b.want(c.what+": IOREGSEL", b.in(0), c.sel)
		b.want(c.what+": IOAPICID", b.get(0), c.id)
	}
	b.set(0, 0x0f<<24)
	b.out(0, 0)
	for _, c := range []struct {
		off  uint64
		want []byte
	}{
		{0x10, []byte{0, 0, 0, 0x0f}},
		{0x13, []byte{0x0f}},
		{0x12, []byte{0, 0x0f}},
		{0x10, []byte{0, 0, 0, 0x0f, 0, 0, 0, 0}},
		{0x0c, []byte{0, 0, 0, 0, 0, 0, 0, 0x0f}},
		{0x0d, []byte{0, 0, 0, 0, 0, 0, 0x0f, 0}},
		{0xfffffffffffffffc, make([]byte, 8)},
		{0x110, make([]byte, 4)},
	} {
		got := bytes.Repeat([]byte{0xee}, len(c.want))
		b.Read(c.off, got)
		if !bytes.Equal(got, c.want) {
			t.Errorf("read of %d bytes at %#x: % x, want % x", len(got), c.off, got, c.want)
		}
	}
	b.program(3, level|0x50, 0)
	b.SetPin(3, true)
	b.SetPin(3, false)
	b.Write(0x41, []byte{0x50})
	b.want("after a write beside EOI", b.low(3), level|remoteIRR|0x50)
	b.Write(0x40, []byte{0x50, 0xff})
	b.want("after a word to EOI", b.low(3), level|0x50)
}

func TestRegisterNames(t *testing.T) {
	b := newBench(t, Config{})
	for off, want := range map[uint64]string{0: "IOREGSEL", 3: "IOREGSEL", 0x10: "IOWIN", 0x40: "EOI", 0x24: "0x24"} {
		if got := b.RegisterName(off, false); got != want {
			t.Errorf("register at %#x: %q, want %q", off, got, want)
		}
	}
}
