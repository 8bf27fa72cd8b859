package pci_test

import (
	"bytes"
	"testing"

	"doorbell/internal/pci"
)

const command, memory = 4, 2

func TestEnumeration(t *testing.T) {
	b := newBus(t)
	check(t, "bridge", b.read32(0, 0), 0x0d578086)
	check(t, "bridge class", b.read32(0, 8), 0x06000000)
	check(t, "one", b.read32(1, 0), 0x10411af4)
	check(t, "one class and revision", b.read32(1, 8), 0x02000001)
	check(t, "one subsystem", b.read32(1, 0x2c), 0x11001af4)
	check(t, "nobody", b.read32(3, 0), 0xffffffff)
	check(t, "beyond conventional space", b.read32(1, 0x100), 0xffffffff)
	// The capability list: vendor-specific, then MSI-X with its table in BAR 2.
	check(t, "status", b.read32(1, 4)>>16, 0x10)
	at := int(b.read32(1, 0x34))
	check(t, "first capability", b.read32(1, at)&0xff, pci.CapVendorSpecific)
	at = int(b.read32(1, at) >> 8 & 0xff)
	check(t, "second capability and message control", b.read32(1, at)&0xff00ffff|b.read32(1, at)&0xff0000, 2<<16|pci.CapMSIX)
	check(t, "table", b.read32(1, at+4), 2)
	check(t, "pending bits", b.read32(1, at+8), 0x802)
}

func TestReadOnlyRegisters(t *testing.T) {
	b := newBus(t)
	var before, after [256]byte
	ecam(b.Segment, 1, 0, before[:], false)
	ones := bytes.Repeat([]byte{0xff}, 256)
	ecam(b.Segment, 1, 0, ones, true)
	ecam(b.Segment, 1, 0, after[:], false)
	writable := map[int]bool{4: true, 5: true, 0x0c: true, 0x3c: true}
	for i := 0x10; i < 0x28; i++ {
		writable[i] = true
	}
	msix := 0x48
	writable[msix+3] = true
	for i := range before {
		if before[i] != after[i] && !writable[i] {
			t.Errorf("register %#x was %#x and became %#x", i, before[i], after[i])
		}
	}
}

func TestBARSizing(t *testing.T) {
	b := newBus(t)
	for _, c := range []struct {
		device, register int
		size             uint64
		flags            uint32
	}{{1, 0x10, 4 << 10, 4}, {1, 0x18, 64 << 10, 0xc}, {2, 0x20, 1 << 20, 4}} {
		b.write32(c.device, c.register, 0xffffffff)
		b.write32(c.device, c.register+4, 0xffffffff)
		low, high := b.read32(c.device, c.register), b.read32(c.device, c.register+4)
		check(t, "flags", low&0xf, c.flags)
		check(t, "size", -(uint64(high)<<32 | uint64(low&^0xf)), c.size)
	}
	b.write32(2, 0x10, 0xffffffff)
	check(t, "a BAR that is not there", b.read32(2, 0x10), 0)
}

// TestBARKinds: a 32-bit BAR and a port BAR take one register each, and are decoded apart.
func TestBARKinds(t *testing.T) {
	b := newBus(t)
	const io = 1
	for _, c := range []struct {
		register int
		ones     uint32 // what a BAR of that size keeps of ones (section 6.2.5.1)
	}{{0x10, 0xffffe000}, {0x14, 0xffffffe1}, {0x18, 0}} {
		was := b.read32(4, c.register)
		b.write32(4, c.register, 0xffffffff)
		check(t, "sizing", b.read32(4, c.register), c.ones)
		b.write32(4, c.register, was)
	}
	b.write32(4, command, io)
	check(t, "ports", b.mapped(b.four, 1), portBase)
	check(t, "memory without its decoder", b.mapped(b.four, 0), 0)
	b.write32(4, command, memory)
	check(t, "ports without their decoder", b.mapped(b.four, 1), 0)
	if at := b.mapped(b.four, 0); at < lowBase || at%(8<<10) != 0 {
		t.Errorf("memory at %#x", at)
	}
	b.write32(4, command, memory|io)
	b.write32(4, 0x14, portBase+0x40)
	check(t, "ports after a move", b.mapped(b.four, 1), portBase+0x40)
	for _, at := range []uint32{0x60, portBase + portSize, lowBase, 0} {
		b.write32(4, 0x14, at)
		check(t, "ports outside their window", b.mapped(b.four, 1), 0)
	}
	b.write32(4, 0x10, portBase)
	check(t, "memory at the ports' addresses", b.mapped(b.four, 0), 0)
	b.write32(1, command, io)
	check(t, "a function without ports enables them", b.read32(1, command)&io, 0)
}

func TestPlacementAndDecoding(t *testing.T) {
	b := newBus(t)
	check(t, "decoded before it is enabled", len(b.decoder.At), 0)
	b.write32(1, command, memory)
	b.write32(2, command, memory)
	check(t, "largest first", b.mapped(b.two, 0), lowBase)
	check(t, "then the next", b.mapped(b.one, 1), lowBase+1<<20)
	check(t, "then the smallest", b.mapped(b.one, 0), lowBase+1<<20+64<<10+8<<10)

	// One dword at a time, through addresses where nothing may be.
	b.write32(1, 0x14, 0x40)
	if len(b.decoder.At) != 2 {
		t.Errorf("decoded outside the windows: %v", b.decoder.At)
	}
	b.write32(1, 0x14, 0x10)
	b.write32(1, 0x10, 0x1000)
	check(t, "moved above 4 GiB", b.mapped(b.one, 0), highBase+0x1000)
	b.write32(1, command, 0)
	check(t, "disabled", len(b.decoder.At), 1)

	b.write32(1, command, memory)
	b.Reset()
	check(t, "decoded after reset", len(b.decoder.At), 0)
	b.write32(1, command, memory)
	check(t, "placed after reset", b.mapped(b.one, 0), lowBase+1<<20+64<<10+8<<10)
}

func TestRefusals(t *testing.T) {
	b := newBus(t)
	b.decoder.Refuse = func(base, size uint64) bool { return base == lowBase+0x5000000 }
	b.write32(1, command, memory)
	b.write32(2, command, memory)
	for _, c := range []struct {
		name      string
		high, low uint32
	}{
		{"RAM", 0, 0x100000}, {"address 0", 0, 0}, {"the local APIC", 0, 0xfee00000}, {"the end of the address space", 0xffffffff, 0xfffff000},
		{"the other BAR", 0, lowBase + 0x8000}, {"the edge of a window", 0, lowBase + lowSize}, {"what the machine uses", 0, lowBase + 0x5000000},
	} {
		before := b.Refused()
		b.write32(1, 0x14, c.high)
		b.write32(1, 0x10, c.low)
		check(t, "decoded over "+c.name, b.mapped(b.one, 0), 0)
		if b.Refused() == before {
			t.Errorf("no refusal counted over %s", c.name)
		}
	}
	// The one that was refused gets its place when the other leaves it.
	b.write32(1, 0x14, 0)
	b.write32(1, 0x10, lowBase+0x8000)
	check(t, "over the other", b.mapped(b.one, 0), 0)
	b.write32(2, 0x20, lowBase+0x2000000)
	check(t, "after the other left", b.mapped(b.one, 0), lowBase+0x8000)
}

func TestMoveIsAnnouncedWhileMapped(t *testing.T) {
	b := newBus(t)
	var log []uint64
	f := pci.NewFunction("f", pci.Identity{VendorID: 1})
	bar := &pci.BAR{Index: 0, Size: 4096, Handler: scratch{}}
	bar.Moved = func(base uint64, decoded bool) {
		if b.decoder.At[bar] != base {
			t.Errorf("announced at %#x, mapped at %#x", base, b.decoder.At[bar])
		}
		if decoded {
			log = append(log, base)
		} else {
			log = append(log, 0)
		}
	}
	if err := f.AddBAR(bar); err != nil {
		t.Fatal(err)
	}
	if err := b.Attach(pci.Address{Device: 5, Function: 1}, f); err != nil {
		t.Fatal(err)
	}
	write := func(register int, v byte) { b.ECAM().Write(5<<15|1<<12|uint64(register), []byte{v}) }
	write(0x13, 0xc1)
	write(command, memory)
	write(0x13, 0xc2)
	write(command, 0)
	want := []uint64{0xc1000000, 0, 0xc2000000, 0}
	for i, v := range want {
		if i >= len(log) || log[i] != v {
			t.Fatalf("announced %#x, want %#x", log, want)
		}
	}
}

func TestAttachErrors(t *testing.T) {
	b := newBus(t)
	f := pci.NewFunction("f", pci.Identity{})
	for _, a := range []pci.Address{{}, {Device: 32}, {Device: -1}, {Function: 8}, {Device: 1}} {
		if err := b.Attach(a, f); err == nil {
			t.Errorf("attached at %v", a)
		}
	}
	for _, bar := range []*pci.BAR{
		{Index: 5, Size: 4096, Handler: scratch{}}, {Index: 6, Size: 4096, Handler: scratch{}}, {Index: 0, Size: 2048, Handler: scratch{}},
		{Index: 0, Size: 12288, Handler: scratch{}}, {Index: 0, Size: 4096},
	} {
		if err := f.AddBAR(bar); err == nil {
			t.Errorf("accepted %+v", bar)
		}
	}
	if _, err := f.AddCapability(9, make([]byte, 200), nil, pci.Hooks{}); err == nil {
		t.Error("accepted a capability that does not fit")
	}
	big := pci.NewFunction("big", pci.Identity{})
	if err := big.AddBAR(&pci.BAR{Index: 0, Size: 1 << 40, Handler: scratch{}}); err != nil {
		t.Fatal(err)
	}
	if err := b.Attach(pci.Address{Device: 9}, big); err != nil {
		t.Fatal(err)
	}
	if err := b.Place(); err == nil {
		t.Error("placed a BAR that is larger than the windows")
	}
}

func TestMultiFunction(t *testing.T) {
	b := newBus(t)
	check(t, "header type alone", b.read32(1, 0x0c)>>16&0xff, 0)
	if err := b.Attach(pci.Address{Device: 1, Function: 3}, pci.NewFunction("f", pci.Identity{VendorID: 1})); err != nil {
		t.Fatal(err)
	}
	check(t, "header type with a second function", b.read32(1, 0x0c)>>16&0xff, 0x80)
}
