package ioapic

import (
	"testing"

	"doorbell/internal/pci"

	"github.com/google/go-cmp/cmp"
)

// TestEdge: one message for each transition to active, and none for what stays as it is.
func TestEdge(t *testing.T) {
	b := newBench(t, Config{})
	b.program(4, 0x34, 2)
	b.sends("rise", func() { b.SetPin(4, true) }, 0x34)
	b.sends("the same again", func() { b.SetPin(4, true) })
	b.sends("fall", func() { b.SetPin(4, false) })
	b.sends("rise while the first waits in IRR", func() { b.SetPin(4, true) }, 0x34)
	b.sends("EOI of an edge", func() { b.EOI(0x34) })
	b.want("the entry", b.low(4), 0x34)
	got := b.Stats()[4]
	if d := cmp.Diff(PinStats{Pin: 4, RTE: got.RTE, Asserted: 1, Raised: 2, Delivered: 1, Coalesced: 1}, got); d != "" {
		t.Error(d)
	}
}

// TestEdgeWhileMasked: it is neither delivered nor held pending, though the line is still up when the mask bit is cleared.
func TestEdgeWhileMasked(t *testing.T) {
	b := newBench(t, Config{})
	b.program(4, masked|0x34, 0)
	b.sends("an edge", func() { b.SetPin(4, true) })
	b.sends("unmasked", func() { b.program(4, 0x34, 0) })
	b.sends("the next edge", func() { b.SetPin(4, false); b.SetPin(4, true) }, 0x34)
	if s := b.Stats()[4]; s.Raised != 2 || s.Masked != 1 || s.Delivered != 1 {
		t.Errorf("%+v", s)
	}
	b.program(4, masked|0x34, 0)
	b.SetPin(4, false)
	b.SetPin(4, true)
	b.sends("unmasked as level-triggered, the line up", func() { b.program(4, level|0x34, 0) }, 0x34)
}

// TestMaskedLevel: a level waits for the mask bit; one that has gone by then was never there.
func TestMaskedLevel(t *testing.T) {
	b := newBench(t, Config{})
	b.program(16, masked|level|0x41, 0)
	b.sends("masked", func() { b.SetPin(16, true) })
	b.want("nothing is pending", b.low(16), masked|level|0x41)
	b.sends("unmasked", func() { b.program(16, level|0x41, 0) }, 0x41)
	b.want("in service", b.low(16), level|remoteIRR|0x41)
	b.sends("masked and unmasked in service", func() { b.program(16, masked|level|0x41, 0); b.program(16, level|0x41, 0) })
	b.program(16, masked|level|0x41, 0)
	b.sends("EOI while masked", func() { b.EOI(0x41) })
	b.want("the EOI counts", b.low(16), masked|level|0x41)
	b.SetPin(16, false)
	b.sends("unmasked with a quiet line", func() { b.program(16, level|0x41, 0) })
}

// TestLevel: one message until the EOI, by either way, and then another if the line is still active.
func TestLevel(t *testing.T) {
	for _, way := range []struct {
		name string
		eoi  func(b *bench, vector uint8)
	}{
		{"broadcast", func(b *bench, v uint8) { b.EOI(v) }},
		{"EOI register", func(b *bench, v uint8) { b.out(0x40, uint32(v)|0xabcdef00) }},
	} {
		t.Run(way.name, func(t *testing.T) {
			b := newBench(t, Config{})
			b.program(16, level|0x41, 0)
			b.sends("rise", func() { b.SetPin(16, true) }, 0x41)
			b.take(0x41)
			b.sends("fall and rise in service", func() { b.SetPin(16, false); b.SetPin(16, true) })
			b.sends("EOI of another vector", func() { way.eoi(b, 0x42) })
			b.sends("EOI with the line active", func() { way.eoi(b, 0x41) }, 0x41)
			b.take(0x41)
			b.SetPin(16, false)
			b.sends("EOI with the line quiet", func() { way.eoi(b, 0x41) })
			b.want("at rest", b.low(16), level|0x41)
			b.sends("an EOI too many", func() { way.eoi(b, 0x41) })
			b.sends("rise", func() { b.SetPin(16, true) }, 0x41)
			got := b.Stats()[16]
			if d := cmp.Diff(PinStats{Pin: 16, RTE: got.RTE, Asserted: 1, Raised: 3, Delivered: 3, EOIs: 2, Redelivered: 1}, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestSharedPin: two devices on one pin. The line is up until both are served, and each gets its turn.
func TestSharedPin(t *testing.T) {
	b := newBench(t, Config{})
	b.program(16, level|0x41, 0)
	disk, nic := b.source(16), b.source(16)
	b.sends("the disk asks", func() { disk.Set(true) }, 0x41)
	b.sends("so does the network card", func() { nic.Set(true) })
	b.take(0x41)
	disk.Set(false)
	b.sends("EOI with only the disk served", func() { b.EOI(0x41) }, 0x41)
	b.take(0x41)
	nic.Set(false)
	b.sends("EOI with both served", func() { b.EOI(0x41) })
	b.SetPin(16, true)
	b.take(0x41)
	b.SetPin(16, false)
	b.EOI(0x41)
	if s := b.Stats()[16]; s.Raised != 2 || s.Delivered != 3 || s.Redelivered != 1 || s.Asserted != 0 {
		t.Errorf("%+v", s)
	}
}

func TestSources(t *testing.T) {
	b := newBench(t, Config{})
	for _, pin := range []int{-1, Pins} {
		if _, err := b.NewSource(pin); err == nil {
			t.Errorf("pin %d has a source", pin)
		}
		b.SetPin(pin, true)
		b.Redeliver(pin)
		if !b.RTE(pin).Masked() {
			t.Errorf("pin %d is not masked", pin)
		}
	}
	b.program(9, level|0x41, 0)
	var all []*Source
	for range MaxSources {
		all = append(all, b.source(9))
	}
	if _, err := b.NewSource(9); err == nil {
		t.Error("a pin takes more sources than there are bits")
	}
	b.SetPin(9, true)
	for _, s := range all {
		s.Set(true)
	}
	if s := b.Stats()[9]; s.Asserted != MaxSources+1 || all[7].Pin() != 9 {
		t.Errorf("%+v", s)
	}
	b.SetPin(9, false)
	for _, s := range all {
		s.Close()
		s.Set(true)
	}
	b.sends("EOI after all sources were closed", func() { b.EOI(0x41) })
	b.sends("a new source", func() { b.source(9).Set(true) }, 0x41)
	if _, err := New(Config{}); err == nil {
		t.Error("a chip without an output")
	}
}

// TestPolarity: what is active is the device's wish seen through the wiring and through INTPOL.
func TestPolarity(t *testing.T) {
	for _, c := range []struct {
		wiring uint32
		entry  uint32
		asking bool // is active; else the opposite
	}{{0, 0, true}, {0, intpol, false}, {1 << 7, intpol, true}, {1 << 7, 0, false}} {
		b := newBench(t, Config{ActiveLow: c.wiring})
		b.SetPin(7, !c.asking)
		b.program(7, c.entry|0x30, 0)
		b.sends("edge to active", func() { b.SetPin(7, c.asking) }, 0x30)
		b.sends("edge to inactive", func() { b.SetPin(7, !c.asking) })
		b.sends("level, inactive", func() { b.program(7, c.entry|level|0x31, 0) })
		b.sends("level, active", func() { b.SetPin(7, c.asking) }, 0x31)
		b.SetPin(7, !c.asking)
		b.EOI(0x31)
		b.sends("the other polarity makes it active", func() { b.program(7, c.entry^intpol|level|0x31, 0) }, 0x31)
	}
}

// TestStuckRemoteIRR: a guest that changes the vector of an interrupt in service misses its EOI. Linux, which finds remote IRR still
// set, makes the entry edge-triggered and masked, and then what it was.
func TestStuckRemoteIRR(t *testing.T) {
	b := newBench(t, Config{})
	b.program(16, level|0x41, 0)
	b.SetPin(16, true)
	b.program(16, level|0x51, 0)
	b.take(0x41)
	b.sends("EOI of the old vector", func() { b.EOI(0x41) })
	b.want("stuck", b.low(16), level|remoteIRR|0x51)
	b.sends("another rise", func() { b.SetPin(16, false); b.SetPin(16, true) })
	b.program(16, masked|level|0x51, 0)
	b.want("masking does not help", b.low(16), masked|level|remoteIRR|0x51)
	b.sends("edge", func() { b.program(16, masked|0x51, 0) })
	b.want("edge", b.low(16), masked|0x51)
	b.sends("level again", func() { b.program(16, masked|level|0x51, 0) })
	b.sends("unmasked, and the line is still active", func() { b.program(16, level|0x51, 0) }, 0x51)
}

// TestSharedVector: an EOI ends the interrupts of all pins with the vector (ICH9 section 13.5.4). The one that was not served yet is sent
// again and not lost.
func TestSharedVector(t *testing.T) {
	b := newBench(t, Config{})
	b.program(16, level|0x41, 1)
	b.program(20, level|0x41, 2)
	b.program(21, 0x41, 3)
	b.sends("both rise", func() { b.SetPin(16, true); b.SetPin(20, true) }, 0x41, 0x41)
	if s := b.Stats(); s[16].Delivered != 1 || s[20].Coalesced != 1 {
		t.Errorf("%+v\n%+v", s[16], s[20])
	}
	b.take(0x41)
	b.SetPin(16, false)
	b.sends("EOI", func() { b.EOI(0x41) }, 0x41)
	if last := b.sent[len(b.sent)-1]; last.Dest != 2 {
		t.Errorf("sent again to %d", last.Dest)
	}
	b.want("quiet", b.low(16), level|0x41)
	b.want("sent again", b.low(20), level|remoteIRR|0x41)
	b.SetPin(20, false)
	b.EOI(0x41)
	if s := b.Stats(); s[16].EOIs != 1 || s[20].EOIs != 2 || s[20].Redelivered != 1 || s[21].EOIs != 0 {
		t.Errorf("%+v\n%+v\n%+v", s[16], s[20], s[21])
	}
}

// TestModes: what is sent and what is not, and that only fixed and lowest-priority interrupts can be level-triggered.
func TestModes(t *testing.T) {
	for mode, c := range []struct{ sent, level bool }{
		pci.Fixed: {true, true}, pci.LowestPriority: {true, true}, pci.SMI: {}, 3: {},
		pci.NMI: {true, false}, pci.INIT: {true, false}, 6: {}, pci.ExtINT: {true, false},
	} {
		b := newBench(t, Config{})
		b.program(2, uint32(mode)<<8|level|logical|0x60, 0x0c)
		b.SetPin(2, true)
		var want []Message
		if c.sent {
			want = []Message{{Vector: 0x60, Mode: pci.DeliveryMode(mode), Logical: true, Dest: 0x0c, Level: c.level}}
		}
		if d := cmp.Diff(want, b.sent); d != "" {
			t.Errorf("mode %d: %s", mode, d)
		}
		irr := uint32(0)
		if c.level {
			irr = remoteIRR
		}
		b.want("the entry", b.low(2), uint32(mode)<<8|level|logical|irr|0x60)
		b.sends("a second edge", func() { b.SetPin(2, false); b.SetPin(2, true) }, map[bool][]uint8{true: {0x60}}[c.sent && !c.level]...)
		s := b.Stats()[2]
		if smi, reserved := mode == int(pci.SMI), mode == 3 || mode == 6; (s.SMI == 2) != smi || (s.Reserved == 2) != reserved {
			t.Errorf("mode %d: %+v", mode, s)
		}
	}
}

// TestNobody: an edge that nobody takes is gone; a level waits, visibly, for an entry that leads to somebody, or for Redeliver.
func TestNobody(t *testing.T) {
	b := newBench(t, Config{})
	b.nobody[9] = true
	b.program(4, 0x34, 9)
	b.sends("edge", func() { b.SetPin(4, true) }, 0x34)
	b.sends("to somebody, too late", func() { b.program(4, 0x34, 1) })
	b.program(16, level|0x41, 9)
	b.sends("level", func() { b.SetPin(16, true) }, 0x41)
	b.want("send pending", b.low(16), level|delivs|0x41)
	if !b.RTE(16).Pending() || b.RTE(16).RemoteIRR() {
		t.Error(b.RTE(16))
	}
	b.sends("to somebody", func() { b.set(0x31, 1<<24) }, 0x41)
	b.want("accepted", b.low(16), level|remoteIRR|0x41)
	b.program(17, level|0x42, 9)
	b.SetPin(17, true)
	b.sends("still nobody", func() { b.Redeliver(17) }, 0x42)
	b.nobody[9] = false
	b.sends("somebody has come", func() { b.Redeliver(17) }, 0x42)
	b.sends("in service", func() { b.Redeliver(17) })
	if s := b.Stats(); s[4].Nobody != 1 || s[16].Nobody != 1 || s[16].Delivered != 1 || s[17].Nobody != 2 || s[17].Late != 1 {
		t.Errorf("%+v\n%+v\n%+v", s[4], s[16], s[17])
	}
}

// TestMSI: an entry as a message on the bus, read back by the package that knows those.
func TestMSI(t *testing.T) {
	b := newBench(t, Config{})
	for pin, c := range []struct {
		low     uint32
		address uint64
		data    uint32
		ok      bool
	}{
		{0x41, 0xfee5a000, 0x4041, true},
		{level | 0x42, 0xfee5a000, 0xc042, true},
		{lowestPriority | logical | level | 0x43, 0xfee5a00c, 0xc143, true},
		{4<<8 | level, 0xfee5a000, 0x4400, true},
		{5 << 8, 0xfee5a000, 0x4500, true},
		{7 << 8, 0xfee5a000, 0x4700, true},
		{2 << 8, 0xfee5a000, 0x4200, false},
		{3 << 8, 0xfee5a000, 0x4300, false},
		{masked | 0x44, 0xfee5a000, 0x4044, false},
	} {
		b.program(pin, c.low, 0x5a)
		e := b.RTE(pin)
		got, ok := e.MSI()
		if want := (pci.Message{Address: c.address, Data: c.data}); got != want || ok != c.ok {
			t.Errorf("%#x: %#x %#x %v, want %#x %#x %v", c.low, got.Address, got.Data, ok, want.Address, want.Data, c.ok)
		}
		i, ok := got.Interrupt()
		m := e.Message()
		if back := (Message{Vector: i.Vector, Mode: i.Mode, Dest: uint8(i.Destination), Logical: i.Logical, Level: i.Level}); !ok || back != m || !i.Assert {
			t.Errorf("%#x: %v is %+v, want %+v", c.low, got, back, m)
		}
	}
	b.set(0x11, 0x5aff0000)
	if m, _ := b.RTE(0).MSI(); m.Address != 0xfee5aff0 || b.RTE(0).EDID() != 0xff {
		t.Errorf("with an extended destination id: %#x", m.Address)
	}
}

// TestRouteChanged: told once for each write that changes the message or the mask bit, and for no other.
func TestRouteChanged(t *testing.T) {
	b := newBench(t, Config{})
	told := func(what string, f func(), want ...int) {
		t.Helper()
		b.routes = nil
		f()
		if d := cmp.Diff(want, b.routes); d != "" {
			t.Errorf("%s: %s", what, d)
		}
	}
	index := uint32(0x10 + 2*19)
	told("vector", func() { b.set(index, masked|0x41) }, 19)
	told("the same again", func() { b.set(index, masked|0x41) })
	told("unmasked", func() { b.set(index, 0x41) }, 19)
	told("trigger mode", func() { b.set(index, level|0x41) }, 19)
	told("polarity", func() { b.set(index, intpol|level|0x41) })
	told("delivery mode", func() { b.set(index, intpol|level|lowestPriority|0x41) }, 19)
	told("destination mode", func() { b.set(index, intpol|level|lowestPriority|logical|0x41) }, 19)
	told("destination", func() { b.set(index+1, 2<<24) }, 19)
	told("an interrupt and its EOI", func() { b.SetPin(19, false); b.EOI(0x41) })
	told("read-only bits", func() { b.set(index, intpol|level|lowestPriority|logical|delivs|remoteIRR|0x41) })
	told("reset", func() { b.Reset() }, 19)
}

// TestRouteBeforeLevel: while the new route is being told, level interrupts wait and edges do not.
func TestRouteBeforeLevel(t *testing.T) {
	var b *bench
	b = newBench(t, Config{RouteChanged: func(pin int) {
		b.sends("a rise beside the callback", func() { b.SetPin(pin, true) }, map[int][]uint8{4: {0x34}}[pin]...)
		if pin == 16 && b.RTE(16).Vector() != 0x41 {
			t.Error("the callback does not see the new entry")
		}
	}})
	b.sends("edge", func() { b.set(0x18, 0x34) }, 0x34)
	b.sends("level", func() { b.set(0x30, level|0x41) }, 0x41)
	b.sends("EOI beside the callback", func() {
		b.SetPin(16, false)
		b.routeChanged = func(int) { b.EOI(0x41); b.SetPin(16, true) }
		b.set(0x31, 1<<24)
	}, 0x41)
}

// TestStorm: the guest ends the interrupt before the device is quiet, again and again. The 10000th time the chip leaves it to its owner.
func TestStorm(t *testing.T) {
	b := newBench(t, Config{})
	b.program(16, level|0x41, 0)
	quiet := b.source(16)
	b.SetPin(16, true)
	storm := func(eois int) {
		for range eois {
			b.take(0x41)
			b.EOI(0x41)
		}
	}
	storm(StormLimit - 1)
	if len(b.later) != 0 || len(b.sent) != StormLimit {
		t.Fatalf("%d messages, throttled %d times", len(b.sent), len(b.later))
	}
	b.sends("the last EOI", func() { storm(1) })
	if d := cmp.Diff([]int{16}, b.later); d != "" {
		t.Fatal(d)
	}
	b.want("the interrupt waits", b.low(16), level|delivs|0x41)
	b.sends("after the pause", func() { b.Redeliver(16) }, 0x41)
	// Another device on the pin is served: the guest makes progress, and the count starts anew.
	storm(StormLimit - 1)
	quiet.Set(true)
	quiet.Set(false)
	storm(StormLimit - 1)
	// So it does when an EOI finds the line quiet, or masked.
	b.SetPin(16, false)
	storm(1)
	b.SetPin(16, true)
	storm(StormLimit - 1)
	b.program(16, masked|level|0x41, 0)
	storm(1)
	b.program(16, level|0x41, 0)
	storm(StormLimit - 1)
	b.Reset()
	b.program(16, level|0x41, 0)
	storm(StormLimit - 1)
	if len(b.later) != 1 {
		t.Errorf("throttled %d times", len(b.later))
	}
	b.sends("once more", func() { storm(1) })
	b.sends("the device is quiet before the pause is over", func() { b.SetPin(16, false); b.Redeliver(16) })
	if s := b.Stats()[16]; s.Throttled != 2 || s.Late != 1 || s.EOIs != s.Redelivered+s.Throttled+2 {
		t.Errorf("%+v", s)
	}
}
