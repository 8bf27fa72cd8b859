package lapic

import (
	"testing"

	"doorbell/internal/pci"
)

// paths are the ways that have to be short.
func paths(t testing.TB) map[string]func() {
	b := running(t)
	b.put(0x320, 0x20050)
	b.put(0x380, 1_000_000)
	d := b.Descriptor()
	x2 := running(t)
	x2.x2()
	p := newParty(t, true, 0, 1, 2, 3)
	p.kick = nil
	var word [4]byte
	full := func(v uint8, level bool) {
		d.Post(v, level)
		b.Sync()
		b.Pending()
		b.Accept()
		b.Write(0xb0, word[:])
	}
	b.cfg.EOI = func(uint8) {}
	return map[string]func(){
		"Post":             func() { d.Post(0x40, false) },
		"SyncIdle":         b.Sync,
		"InterruptEdge":    func() { full(0x40, false) },
		"InterruptLevel":   func() { full(0x41, true) },
		"Timer":            func() { b.clock.now += 1_000_000; b.Expire(); b.Accept(); b.EOI() },
		"NextAndExpire":    func() { b.Next(); b.Expire() },
		"ReadTCCR":         func() { b.Read(0x390, word[:]) },
		"ReservedRegister": func() { b.Read(0x40, word[:]) },
		"MSREOI":           func() { _ = x2.WriteMSR(0x80b, 0) },
		"MSRFault":         func() { _ = x2.WriteMSR(0x80e, 0) },
		"SelfIPI":          func() { _ = x2.WriteMSR(0x83f, 0x40); x2.Accept(); x2.EOI() },
		"IPI":              func() { _ = p.apics[0].WriteMSR(0x830, 1<<32|0x40); p.apics[1].Sync() },
		"IPIAllButSelf":    func() { _ = p.apics[0].WriteMSR(0x830, 3<<18|0x40) },
		"IPILogical":       func() { _ = p.apics[0].WriteMSR(0x830, 0xe<<32|1<<11|0x40) },
		"MSI":              func() { p.SendMSI(pci.Message{Address: 0xfee02000, Data: 0x41}) },
		"MSILowestPrio":    func() { p.SendMSI(pci.Message{Address: 0xfeeff008, Data: 0x42}) },
		"NMI":              func() { d.PostNMI(); b.Sync(); b.Events() },
		"INIT":             func() { p.apics[3].Descriptor().PostINIT(); p.apics[3].Sync(); p.apics[3].Events() },
	}
}

func TestNoAllocation(t *testing.T) {
	for name, f := range paths(t) {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

func BenchmarkPaths(b *testing.B) {
	for name, f := range paths(b) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f()
			}
		})
	}
}
