package lapic

import "testing"

// TestPriority: classes decide what is delivered, whatever the order of arrival.
func TestPriority(t *testing.T) {
	b := running(t)
	for _, v := range []uint8{0x31, 0x52, 0x5f, 0x41} {
		b.arrive(v, false)
	}
	b.accept(0x5f)
	b.want("PPR", b.get(0xa0), uint32(0x50))
	b.want("a lower vector of the class in service", b.pending(), -1)
	b.arrive(0x60, false)
	b.accept(0x60)
	b.want("ISR", b.get(0x100+16*3), uint32(1))
	b.put(0xb0, 0)
	b.want("pending after one EOI", b.pending(), -1)
	b.put(0xb0, 0)
	b.accept(0x52)
	b.put(0xb0, 0)
	b.put(0x80, 0x45)
	b.want("PPR", b.get(0xa0), uint32(0x45))
	b.want("TPR's own class", b.pending(), -1)
	b.SetCR8(3)
	b.want("TPR", b.get(0x80), uint32(0x30))
	b.want("CR8", b.CR8(), uint8(3))
	b.accept(0x41)
	b.put(0xb0, 0)
	b.want("TPR's own class", b.pending(), -1)
	b.SetCR8(2)
	b.accept(0x31)
}

// TestSubclass: in PPR, TPR's lower half is seen while TPR decides.
func TestSubclass(t *testing.T) {
	b := running(t)
	b.arrive(0x5a, false)
	b.accept(0x5a)
	for tpr, ppr := range map[uint32]uint32{0x00: 0x50, 0x4f: 0x50, 0x53: 0x53, 0x61: 0x61} {
		b.put(0x80, tpr)
		b.want("PPR", b.get(0xa0), ppr)
	}
}

// TestAPR: the arbitration priority, which TPR, ISR and IRR make together.
func TestAPR(t *testing.T) {
	for _, c := range []struct {
		tpr, isrv, irrv uint8
		apr             uint32
	}{
		{0, 0, 0, 0}, {0x35, 0, 0, 0x35}, {0x35, 0x20, 0x30, 0x35}, {0x35, 0x20, 0x41, 0x40}, {0x35, 0x61, 0, 0x20}, {0x35, 0x61, 0x71, 0x70},
	} {
		b := running(t)
		if c.isrv != 0 {
			b.arrive(c.isrv, false)
			b.accept(c.isrv)
		}
		if c.irrv != 0 {
			b.arrive(c.irrv, false)
		}
		b.put(0x80, uint32(c.tpr))
		b.want("APR", b.get(0x90), c.apr)
	}
}

// TestTwoLevels: a vector waits once while it is in service, and no more than once.
func TestTwoLevels(t *testing.T) {
	b := running(t)
	b.arrive(0x40, false)
	b.accept(0x40)
	for range 3 {
		b.arrive(0x40, false)
	}
	b.put(0xb0, 0)
	b.accept(0x40)
	b.put(0xb0, 0)
	b.want("pending", b.pending(), -1)
	b.want("account", b.Stats().Vectors[0], VectorStats{Vector: 0x40, Raised: 4, Coalesced: 2, Delivered: 2, Ended: 2})
}

// TestSpurious: the processor acknowledges what TPR has hidden meanwhile.
func TestSpurious(t *testing.T) {
	b := running(t)
	b.put(0xf0, 0x1ef)
	b.arrive(0x40, false)
	b.SetCR8(4)
	if v, real := b.Accept(); v != 0xef || real {
		t.Errorf("acknowledged %#x, real %v", v, real)
	}
	b.want("ISR of the spurious vector", b.get(0x170), uint32(0))
	b.SetCR8(0)
	b.accept(0x40)
	b.want("spurious", b.Stats().Spurious, uint64(1))
}

func TestEOI(t *testing.T) {
	for _, c := range []struct {
		svr       uint32
		level     bool
		broadcast int
	}{{0x1ff, false, 0}, {0x1ff, true, 1}, {0x11ff, true, 0}, {0x11ff, false, 0}} {
		b := running(t)
		b.put(0xf0, c.svr)
		b.arrive(0x51, c.level)
		tmr := uint32(0)
		if c.level {
			tmr = 1 << 17
		}
		b.want("TMR", b.get(0x180+16*2), tmr)
		b.accept(0x51)
		b.put(0xb0, 0xdeadbeef) // any value
		if len(*b.eois) != c.broadcast {
			t.Errorf("%+v: %d broadcasts", c, len(*b.eois))
		}
		b.put(0xb0, 0)
		if len(*b.eois) != c.broadcast || b.Stats().IdleEOIs != 1 {
			t.Errorf("%+v: an EOI with nothing in service had an effect", c)
		}
	}
	b := running(t)
	b.arrive(0x51, true)
	b.accept(0x51)
	if v, broadcast, ok := b.EOI(); v != 0x51 || !broadcast || !ok {
		t.Errorf("EOI gave %#x, %v, %v", v, broadcast, ok)
	}
	if v, broadcast, ok := b.EOI(); v != 0 || broadcast || ok {
		t.Errorf("EOI gave %#x, %v, %v", v, broadcast, ok)
	}
}

// TestTriggerModeFollowsTheLast: TMR says how the vector came last.
func TestTriggerModeFollowsTheLast(t *testing.T) {
	b := running(t)
	b.arrive(0x40, true)
	b.arrive(0x40, false)
	b.want("TMR", b.get(0x1a0), uint32(0))
	b.arrive(0x40, true)
	b.want("TMR", b.get(0x1a0), uint32(1))
}

// TestSoftwareDisable: what is accepted stays, what comes is lost, LVT entries are masked, and the rest comes through.
func TestSoftwareDisable(t *testing.T) {
	b := running(t)
	b.put(0x320, 0x31)
	b.put(0x350, 0x700)
	b.arrive(0x40, false)
	b.accept(0x40)
	b.arrive(0x50, false)
	b.Descriptor().Post(0x60, false)
	b.put(0xf0, 0xff)
	b.arrive(0x70, false)
	b.want("LVT timer", b.get(0x320), uint32(0x10031))
	b.want("LVT LINT0", b.get(0x350), uint32(0x10700))
	b.put(0x320, 0x32)
	b.want("LVT timer cannot be unmasked", b.get(0x320), uint32(0x10032))
	b.want("ISR", b.get(0x120), uint32(1))
	b.accept(0x60)
	b.put(0xb0, 0)
	b.accept(0x50)
	b.Descriptor().PostNMI()
	b.Sync()
	b.want("events", b.Events(), Events{NMI: true})
	b.Descriptor().Post(0x71, false)
	b.put(0xf0, 0x1ff)
	b.Sync()
	b.want("pending after it was enabled", b.pending(), -1)
	b.put(0x320, 0x32)
	b.want("LVT timer", b.get(0x320), uint32(0x32))
	b.arrive(0x72, false)
	b.accept(0x72)
}

// TestIllegalVectors: they are errors where they are received and where they are sent, and no IRR bit.
func TestIllegalVectors(t *testing.T) {
	for v := range uint8(17) {
		send, receive, x2self := uint32(0x20), uint32(0x40), uint32(0x60)
		irr := uint32(0)
		if v == 16 {
			send, receive, x2self, irr = 0, 0, 0, 1<<16
		}
		b := running(t)
		b.arrive(v, false)
		b.want("ESR after a message", b.errors(), receive)
		b.want("IRR", b.get(0x200), irr)
		b = running(t)
		b.put(0x300, uint32(v))
		b.want("ESR after an IPI", b.errors(), send)
		b.want("messages", len(*b.out), 1)
		b = running(t)
		b.put(0x300, 1<<18|uint32(v))
		b.want("ESR after an IPI to itself", b.errors(), x2self)
		b.want("IRR", b.get(0x200), irr)
		b.x2()
		if err := b.WriteMSR(0x83f, uint64(v)); err != nil {
			t.Fatal(err)
		}
		if err := b.WriteMSR(0x828, 0); err != nil {
			t.Fatal(err)
		}
		esr, _ := b.ReadMSR(0x828)
		b.want("ESR after SELF IPI", esr, uint64(x2self))
	}
	b := running(t)
	b.put(0x320, 7)
	b.put(0x380, 1)
	b.advance(10)
	b.want("ESR after a timer with an illegal vector", b.errors(), uint32(0x40))
	b.put(0x300, 0x400)
	b.want("ESR after an NMI with vector 0", b.errors(), uint32(0))
}

// TestESR: errors show after a write, and interrupt once between two writes.
func TestESR(t *testing.T) {
	b := running(t)
	b.put(0x370, 0xe1)
	b.get(0x3f0)
	b.want("ESR before a write", b.get(0x280), uint32(0))
	b.accept(0xe1)
	b.put(0xb0, 0)
	b.arrive(3, false)
	b.want("a second error interrupt", b.pending(), -1)
	b.want("ESR", b.errors(), uint32(0xc0))
	b.want("ESR is kept", b.get(0x280), uint32(0xc0))
	b.get(0x3f0)
	b.accept(0xe1)
	b.want("ESR", b.errors(), uint32(0x80))
	b.want("ESR after two writes", b.errors(), uint32(0))
	b.put(0x370, 0x05) // its own vector is illegal: an error in reporting errors
	b.get(0x3f0)
	b.want("ESR", b.errors(), uint32(0xc0))
	b.put(0x370, 0x100e1)
	b.put(0xb0, 0)
	b.get(0x3f0)
	b.want("a masked error interrupt", b.pending(), -1)
}

// TestINIT: a processor that is not the bootstrap processor waits for a SIPI, and only then one counts.
func TestINIT(t *testing.T) {
	b := newBench(t, Config{ID: 3})
	d := b.Descriptor()
	if !b.Waiting() {
		t.Error("does not wait after power-up")
	}
	d.PostNMI()
	b.Sync()
	b.want("events while waiting", b.Events(), Events{})
	d.PostSIPI(0x9a)
	d.PostSIPI(0x9b)
	b.Sync()
	b.want("events", b.Events(), Events{SIPI: true, Vector: 0x9a, NMI: true})
	d.PostSIPI(0x9c)
	b.Sync()
	b.want("a SIPI to a running processor", b.Events(), Events{})
	b.put(0xf0, 0x1ff)
	b.put(0x20, 0x42000000)
	b.put(0xd0, 0x42000000)
	b.put(0x80, 0x10)
	b.arrive(0x40, false)
	d.PostSIPI(1) // before the INIT: does not count
	d.PostNMI()   // likewise
	d.Post(0x50, false)
	d.PostINIT()
	d.PostSIPI(2)
	b.Sync()
	b.want("events", b.Events(), Events{INIT: true, SIPI: true, Vector: 2})
	b.want("pending after INIT", b.pending(), -1)
	b.want("ID is kept", b.get(0x20), uint32(0x42000000))
	b.want("LDR", b.get(0xd0), uint32(0))
	b.want("TPR", b.get(0x80), uint32(0))
	b.want("SVR", b.get(0xf0), uint32(0xff))
	b.x2()
	d.PostINIT()
	b.Sync()
	b.want("mode after INIT", b.Mode(), X2APIC)
	b.want("waiting after INIT", b.Waiting(), true)
	bsp := running(t)
	bsp.Descriptor().PostINIT()
	bsp.Descriptor().PostSIPI(7)
	bsp.Sync()
	bsp.want("events of the bootstrap processor", bsp.Events(), Events{INIT: true})
	bsp.want("waiting", bsp.Waiting(), false)
}

// TestWaitingTakesNoInterrupts: neither vectors nor the PIC's.
func TestWaitingTakesNoInterrupts(t *testing.T) {
	b := newBench(t, Config{})
	b.VirtualWire()
	b.Descriptor().LINT(0, true)
	b.Descriptor().PostExtINT()
	b.arrive(0x40, false)
	b.want("pending", b.pending(), -1)
	b.want("ExtINT", b.ExtINT(), false)
	b.Descriptor().PostSIPI(1)
	b.Sync()
	b.want("pending", b.pending(), 0x40)
	b.want("ExtINT", b.ExtINT(), true)
}
