package lapic

import "testing"

// TestVirtualWire: the PIC reaches the processor through LINT0 as ExtINT, which is a level.
func TestVirtualWire(t *testing.T) {
	b := newBench(t, Config{BSP: true})
	line := func(active bool) {
		b.Descriptor().LINT(0, active)
		b.Sync()
	}
	line(true)
	b.want("ExtINT through a masked LINT0", b.ExtINT(), false)
	b.VirtualWire()
	b.want("LVT LINT0", b.get(0x350), uint32(0x700))
	b.want("LVT LINT1", b.get(0x360), uint32(0x400))
	b.want("ExtINT", b.ExtINT(), true)
	b.TakeExtINT()
	b.want("ExtINT while the line is up", b.ExtINT(), true)
	line(false)
	b.want("ExtINT", b.ExtINT(), false)
	b.Descriptor().LINT(1, true)
	b.Sync()
	b.want("events", b.Events(), Events{NMI: true})
	b.Descriptor().LINT(1, true)
	b.Sync()
	b.want("NMI from a line that stays up", b.Events(), Events{})
	b.Descriptor().PostExtINT()
	b.Sync()
	b.want("ExtINT by message", b.ExtINT(), true)
	b.TakeExtINT()
	b.want("ExtINT", b.ExtINT(), false)
	if b.Descriptor().LINT(2, true) || b.Descriptor().LINT(-1, true) {
		t.Error("there are more than two pins")
	}
}

// TestDisabledPins: without an APIC, the pins are INTR and NMI.
func TestDisabledPins(t *testing.T) {
	b := newBench(t, Config{BSP: true})
	if err := b.WriteMSR(0x1b, 0xfee00100); err != nil {
		t.Fatal(err)
	}
	b.Descriptor().LINT(0, true)
	b.Descriptor().LINT(1, true)
	b.Sync()
	b.want("ExtINT", b.ExtINT(), true)
	b.want("PIC", b.AcceptsPIC(), true)
	b.want("events", b.Events(), Events{NMI: true})
}

// TestLINT0Fixed: Linux tries it when nothing else brings it the PIC's timer. A level comes again after its EOI.
func TestLINT0Fixed(t *testing.T) {
	b := running(t)
	line := func(active bool) {
		b.Descriptor().LINT(0, active)
		b.Sync()
	}
	b.put(0x350, 0x30)
	line(true)
	b.accept(0x30)
	b.put(0xb0, 0)
	b.want("an edge comes once", b.pending(), -1)
	line(false)
	b.put(0x350, 0x10030)
	line(true)
	b.put(0x350, 0x30)
	b.want("an edge that came while masked", b.pending(), -1)
	b.put(0x350, 0x8031)
	b.want("remote IRR", b.get(0x350), uint32(0xc031))
	b.accept(0x31)
	b.put(0xb0, 0)
	b.want("remote IRR", b.get(0x350), uint32(0xc031))
	b.accept(0x31)
	b.put(0xf0, 0x11ff) // without the broadcast, which is for IOAPICs, the pin is sampled all the same
	b.put(0xb0, 0)
	b.accept(0x31)
	b.put(0xf0, 0x1ff)
	line(false)
	b.put(0xb0, 0)
	b.want("remote IRR", b.get(0x350), uint32(0x8031))
	b.want("pending", b.pending(), -1)
	b.Descriptor().LINT(0, true)
	b.Descriptor().LINT(0, false)
	b.Sync()
	b.want("a level that has gone", b.pending(), -1)
	b.put(0x350, 0x30)
	b.Descriptor().LINT(0, true)
	b.Descriptor().LINT(0, false)
	b.Sync()
	b.want("an edge that has gone", b.pending(), 0x30)
}

// TestLocalModes: what an LVT entry makes of its interrupt.
func TestLocalModes(t *testing.T) {
	for mode, want := range map[uint32]Events{0: {}, 1: {}, 2: {SMI: true}, 3: {}, 4: {NMI: true}, 5: {INIT: true}, 6: {}, 7: {}} {
		b := running(t)
		b.put(0x330, mode<<8|0x44)
		b.Thermal()
		b.Sync()
		b.want("events", b.Events(), want)
		if vector := b.pending(); (vector == 0x44) != (mode == 0) {
			t.Errorf("mode %d: vector %#x", mode, vector)
		}
	}
	b := running(t)
	b.put(0x340, 0x45)
	b.PerfMon()
	b.want("LVT perfmon is masked by its interrupt", b.get(0x340), uint32(0x10045))
	b.PerfMon()
	b.accept(0x45)
	b.want("pending", b.pending(), -1)
}
