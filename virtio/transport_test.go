package virtio

import (
	"encoding/binary"
	"strings"
	"testing"

	"doorbell/guest/memory"
	"doorbell/internal/pci/pcitest"
)

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestDiscovery(t *testing.T) {
	g := newGuest(t)
	defer g.close()
	equal(t, "identity", g.configRead(0, 4), 0x10411af4)
	for _, c := range []struct {
		kind           byte
		offset, length uint32
	}{{capCommon, 0, 60}, {capISR, 0x40, 1}, {capDevice, 0x100, 12}, {capNotify, 0x400, 8}} {
		at := g.capabilityAt(c.kind)
		equal(t, "offset", g.configRead(at+capOffset, 4), c.offset)
		equal(t, "length", g.configRead(at+capLength, 4), c.length)
	}
	equal(t, "notify_off_multiplier", g.configRead(g.capabilityAt(capNotify)+capEnd, 4), 4)
	var offered uint64
	for i := range uint64(3) {
		g.write(0, 4, i)
		if i < 2 {
			offered |= g.read(4, 4) << (32 * i)
		} else {
			equal(t, "features beyond 64", g.read(4, 4), 0)
		}
	}
	equal(t, "features", offered, testFeatures|transportFeatures)
	equal(t, "num_queues", g.read(18, 2), 2)
	for n, size := range []uint64{8, 16} {
		g.write(22, 2, uint64(n))
		equal(t, "queue_size", g.read(24, 2), size)
		equal(t, "queue_notify_off", g.read(30, 2), uint64(n))
		equal(t, "queue_msix_vector", g.read(26, 2), noVector)
	}
	g.write(22, 2, 2)
	equal(t, "queue_size of no queue", g.read(24, 2), 0)
}

// TestPacketThroughTheTransport is a driver's whole way: negotiation, queues, a kick, an interrupt.
func TestPacketThroughTheTransport(t *testing.T) {
	for _, k := range ringKinds {
		t.Run(k.name, func(t *testing.T) {
			g := newGuest(t)
			defer g.close()
			features := uint64(FeatureVersion1 | FeatureIndirectDesc | 1)
			if k.packed {
				features |= FeatureRingPacked
			}
			if k.eventIdx {
				features |= FeatureEventIdx
			}
			g.start(features)
			var d driver = newSplitDriver(g.ram[0x20000:], 8, k.eventIdx)
			if k.packed {
				d = newPackedDriver(g.ram[0x20000:], 8, k.eventIdx)
			}
			d.enableInterrupts()
			if !d.add(7, []part{{buffersAt, 10, true}}, false) || !d.needsKick() {
				t.Fatal("the driver does not kick")
			}
			g.write(notifyOffset+4, 2, 1)
			equal(t, "served", g.device.work(), 1)
			token, _, ok := d.reap()
			equal(t, "token", token, 7)
			equal(t, "reaped", ok, true)
			equal(t, "interrupts of queue 1", g.fired(2), 1)
			equal(t, "interrupts of queue 0", g.fired(1), 0)
			equal(t, "kicks", g.t.QueueStats(1).Kicks.Load(), 1)
			equal(t, "kicks avoided", g.t.QueueStats(1).KicksAvoided(), 0)
			equal(t, "needs reset", g.t.NeedsReset(), false)
			v, ok := g.t.QueueVector(1)
			equal(t, "vector", v, 2)
			equal(t, "has vector", ok, true)
		})
	}
}

func TestFeaturesRefused(t *testing.T) {
	for name, c := range map[string]struct {
		features uint64
		refuse   bool
	}{
		"not offered":        {FeatureVersion1 | 1<<7, false},
		"without VERSION_1":  {1, false},
		"the device says so": {FeatureVersion1, true},
	} {
		g := newGuest(t)
		g.device.refuse = c.refuse
		if s := g.negotiate(c.features); s != statusAcknowledge|statusDriver {
			t.Errorf("%s: status %#x", name, s)
		}
		equal(t, name+": reported", len(g.faults), 1)
		g.device.refuse = false
		if s := g.negotiate(FeatureVersion1); s&statusFeaturesOK == 0 {
			t.Errorf("%s: status %#x after a reset", name, s)
		}
		// Features are fixed once accepted.
		g.write(8, 4, 0)
		g.write(12, 4, 0xff)
		equal(t, "features after FEATURES_OK", g.read(12, 4), 0)
		g.close()
	}
}

// TestFeaturesAreRemembered: what was negotiated can still be told when the driver has reset the device, and what was refused is not it.
func TestFeaturesAreRemembered(t *testing.T) {
	g := newGuest(t)
	defer g.close()
	check := func(when string, want uint64) {
		t.Helper()
		offered, negotiated := g.t.Features()
		equal(t, when, negotiated, want)
		equal(t, when+": offered", offered&transportFeatures, transportFeatures)
	}
	check("before a driver came", 0)
	g.negotiate(FeatureVersion1 | FeatureRingPacked)
	check("negotiated", FeatureVersion1|FeatureRingPacked)
	g.negotiate(FeatureEventIdx) // refused, after a reset
	check("refused", FeatureVersion1|FeatureRingPacked)
	g.negotiate(FeatureVersion1)
	check("negotiated again", FeatureVersion1)
}

func TestGarbageQueues(t *testing.T) {
	for name, breakIt := range map[string]func(g *guest){
		"size 0":                 func(g *guest) { g.write(24, 2, 0) },
		"size 3":                 func(g *guest) { g.write(24, 2, 3) },
		"size above the maximum": func(g *guest) { g.write(24, 2, 32) },
		"unaligned":              func(g *guest) { g.write(32, 4, descAt+1) },
		"outside memory":         func(g *guest) { g.write(40, 8, ^uint64(0)&^15) },
	} {
		g := newGuest(t)
		g.enableMSIX()
		g.write(16, 2, 0)
		g.negotiate(FeatureVersion1)
		g.setQueue(0, 8)
		g.write(22, 2, 1)
		breakIt(g)
		g.write(28, 2, 1)
		equal(t, name+": enabled", g.read(28, 2), 0)
		equal(t, name+": status", g.read(20, 1), statusAcknowledge|statusDriver|statusFeaturesOK|statusNeedsReset)
		equal(t, name+": reports", len(g.faults), 1)
		// A reset cures it.
		g.write(20, 1, 0)
		equal(t, name+": status after reset", g.read(20, 1), 0)
		equal(t, name+": size after reset", g.read(24, 2), 8)
		g.close()
	}
}

// TestBadChainStopsItsQueueOnly: DEVICE_NEEDS_RESET, one configuration interrupt, and the other queue goes on.
func TestBadChainStopsItsQueueOnly(t *testing.T) {
	g := newGuest(t)
	defer g.close()
	g.start(FeatureVersion1)
	bad, good := newSplitDriver(g.ram, 8, false), newSplitDriver(g.ram[0x20000:], 8, false)
	bad.add(0, []part{{testMemory, 1, false}}, false)
	good.add(0, []part{{buffersAt, 1, false}}, false)
	equal(t, "served", g.device.work(), 1)
	equal(t, "status", g.read(20, 1), 0xf|statusNeedsReset)
	equal(t, "configuration interrupts", g.fired(0), 1)
	equal(t, "ISR", g.read(isrOffset, 1), isrConfig)
	equal(t, "ISR read again", g.read(isrOffset, 1), 0)
	good.add(1, []part{{buffersAt, 1, false}}, false)
	equal(t, "served after that", g.device.work(), 1)
	if len(g.faults) != 1 || !strings.Contains(g.faults[0].Error(), "virtio device net0: queue 0: buffer at index 0: 1 bytes at guest address 0x100000") {
		t.Errorf("reports: %v", g.faults)
	}
	clear(g.ram)
	g.start(FeatureVersion1)
	newSplitDriver(g.ram, 8, false).add(0, []part{{buffersAt, 1, false}}, false)
	equal(t, "served after reset", g.device.work(), 1)
}

func TestQueueReset(t *testing.T) {
	g := newGuest(t)
	defer g.close()
	g.start(FeatureVersion1 | FeatureRingReset)
	g.write(22, 2, 0)
	g.write(58, 2, 1)
	equal(t, "queue_reset", g.read(58, 2), 0)
	equal(t, "queue_enable", g.read(28, 2), 0)
	equal(t, "stopped", g.device.queues[0] == nil, true)
	clear(g.ram[:0x10000])
	g.setQueue(0, 4)
	equal(t, "queue_enable again", g.read(28, 2), 1)
	equal(t, "size", g.device.queues[0].Size(), 4)
	newSplitDriver(g.ram, 4, false).add(0, []part{{buffersAt, 1, false}}, false)
	equal(t, "served", g.device.work(), 1)

	g.start(FeatureVersion1)
	g.write(22, 2, 0)
	g.write(58, 2, 1)
	equal(t, "queue_enable after a reset that was not negotiated", g.read(28, 2), 1)
}

func TestStatus(t *testing.T) {
	g := newGuest(t)
	defer g.close()
	g.write(20, 1, 7)
	equal(t, "DRIVER_OK without FEATURES_OK", g.read(20, 1), 3|statusNeedsReset)
	g.negotiate(FeatureVersion1)
	g.device.broken = true
	g.write(20, 1, 0xf)
	equal(t, "after Activate failed", g.read(20, 1), 0xf|statusNeedsReset)
	g.setQueue(0, 8) // must not be started
	g.device.broken = false
	g.start(FeatureVersion1)
	g.write(20, 1, 1)
	equal(t, "bits are not taken back", g.read(20, 1), 0xf)
	g.segment.Reset()
	equal(t, "after a reset of the bus", g.read(20, 1), 0)
	equal(t, "device active", g.device.active, false)
}

func TestConfigChange(t *testing.T) {
	g := newGuest(t)
	defer g.close()
	generation := g.read(21, 1)
	g.device.host.ConfigChanged()
	equal(t, "interrupts before DRIVER_OK", g.fired(0), 0)
	equal(t, "generation moved", g.read(21, 1) != generation, true)
	g.start(FeatureVersion1)
	g.device.host.ConfigChanged()
	equal(t, "interrupts", g.fired(0), 1)
	g.write(16, 2, 77)
	equal(t, "a vector that is not there", g.read(16, 2), noVector)
	g.device.host.ConfigChanged()
	equal(t, "interrupts without a vector", g.fired(0), 1)
	g.write(deviceOffset+4, 4, 0x01020304)
	equal(t, "device configuration", g.read(deviceOffset+6, 2), 0x0102)
	equal(t, "beyond it", g.read(deviceOffset+12, 4), 0)
	g.write(deviceOffset+8, 8, ^uint64(0))
	equal(t, "a wide write's part within", g.read(deviceOffset+8, 8), 0xffffffff)
}

// TestDoorbellsFollowTheBAR: and kicks work where the machine has none.
func TestDoorbellsFollowTheBAR(t *testing.T) {
	g := newGuest(t)
	defer g.close()
	equal(t, "before decoding", len(g.bells.at), 0)
	g.configWrite(4, 2)
	equal(t, "decoded", len(g.bells.at), 2)
	g.configWrite(0x12, 0x08)
	if _, ok := g.bells.at[guestWindow+0x80000+notifyOffset+4]; !ok || len(g.bells.at) != 2 {
		t.Errorf("doorbells at %#x", g.bells.at)
	}
	g.configWrite(4, 0)
	equal(t, "not decoded", len(g.bells.at), 0)
	g.bells.bad = true
	g.configWrite(4, 2)
	equal(t, "reports", len(g.faults), 2)
	g.start(FeatureVersion1)
	g.write(notifyOffset, 4, 0)
	equal(t, "kicks by exits", g.device.queues[0].TakeKicks(), 1)
}

func TestRegisterWidths(t *testing.T) {
	g := newGuest(t)
	defer g.close()
	g.negotiate(FeatureVersion1)
	g.write(22, 2, 1)
	g.write(32, 8, 0x1122334455667788)
	equal(t, "upper half", g.read(36, 4), 0x11223344)
	g.write(33, 1, 0xee)
	g.write(38, 2, 0xaabb)
	equal(t, "after narrow writes", g.read(32, 8), 0xaabb33445566ee88)
	// Selecting and sizing in one write.
	g.write(22, 4, 4<<16)
	equal(t, "queue 0's size", g.read(24, 2), 4)
	equal(t, "through a wide read", g.read(20, 8)>>32&0xffff, 4)
	equal(t, "past the end", g.read(58, 8), 0)
	equal(t, "between structures", g.read(0x80, 8), 0)
}

func TestConfigurationAccessWindow(t *testing.T) {
	g := newGuest(t)
	defer g.close()
	at := g.capabilityAt(capPCI)
	set := func(bar byte, offset, length uint32) {
		g.configWrite(at+capBAR, bar)
		g.configWrite(at+capOffset, binary.LittleEndian.AppendUint32(nil, offset)...)
		g.configWrite(at+capLength, binary.LittleEndian.AppendUint32(nil, length)...)
	}
	set(0, 18, 2)
	equal(t, "num_queues", g.configRead(at+capData, 4)&0xffff, 2)
	set(0, 22, 2)
	g.configWrite(at+capData, 1, 0)
	equal(t, "queue_select", g.read(22, 2), 1)
	set(2, 12, 4)
	equal(t, "mask bit of vector 0", g.configRead(at+capData, 4), 1)
	for _, c := range []struct {
		bar            byte
		offset, length uint32
	}{{1, 0, 4}, {0, 2, 4}, {0, 0, 3}, {0, 0x1000, 4}, {0, 0xfffffffc, 4}, {2, 0xfff, 2}, {0, 0, 0}, {0xff, 0, 4}} {
		set(c.bar, c.offset, c.length)
		g.configWrite(at+capData, 0xaa, 0xaa, 0xaa, 0xaa)
		equal(t, "nothing reached", g.configRead(at+capData, 4), 0xaaaaaaaa)
	}
}

func TestDisabledFeaturesAreNotOffered(t *testing.T) {
	m, err := memory.NewHeap(testMemory)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []uint64{FeatureRingPacked, FeatureEventIdx, FeatureIndirectDesc, FeatureRingReset, 1 << 5, FeatureVersion1} {
		p, err := NewPCI(&testDevice{tb: t}, Config{Name: "net0", Memory: m, Vectors: pcitest.NewInterrupts(t, 0), Disable: f})
		if err != nil {
			t.Fatal(err)
		}
		if want := f == FeatureVersion1; p.offered&f != 0 != want {
			t.Errorf("feature %#x: offered %#x", f, p.offered)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
}
