package netdev

import (
	"bytes"
	"net"
	"slices"
	"strings"
	"testing"

	"doorbell/virtio/backend"
)

// TestConfig checks struct virtio_net_config byte for byte.
func TestConfig(t *testing.T) {
	g := newGuest(t, setup{backend: newWire(3)})
	defer g.close()
	g.start()
	want := append(bytes.Clone(testMAC), 1, 0, 3, 0, 0xdc, 0x05, 0x10, 0x27, 0, 0, 1, 40, 128, 0, 0x3f, 0, 0, 0)
	var got []byte
	for i := range uint64(configSize) {
		g.write(deviceConfig+i, 1, 0xff) // read-only
		got = append(got, byte(g.read(deviceConfig+i, 1)))
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%x\nwant %x", got, want)
	}
}

// What the backend cannot do is not offered, nor what needs something that is not.
func TestOffers(t *testing.T) {
	for _, c := range []struct {
		from, to backend.Offloads
		pairs    int
		mtu      int
		disable  uint64
		without  uint64
	}{
		{0, 0, 1, 0, 0, FeatureCSum | FeatureHostTSO4 | FeatureHostTSO6 | FeatureHostECN | FeatureHostUSO | FeatureGuestCSum | FeatureCtrlGuestOffloads |
			FeatureGuestTSO4 | FeatureGuestTSO6 | FeatureGuestECN | FeatureGuestUSO4 | FeatureGuestUSO6 | FeatureMTU | FeatureMQ | FeatureRSS},
		{allOffloads, allOffloads, 2, 1500, 0, 0},
		{allOffloads &^ backend.USO, backend.Checksum, 2, 1500, 0, FeatureHostUSO | FeatureGuestTSO4 | FeatureGuestTSO6 | FeatureGuestECN | FeatureGuestUSO4 | FeatureGuestUSO6},
		{allOffloads, allOffloads, 2, 1500, FeatureCSum, FeatureCSum | FeatureHostTSO4 | FeatureHostTSO6 | FeatureHostECN | FeatureHostUSO},
		{allOffloads, allOffloads, 2, 1500, FeatureHostTSO4 | FeatureHostTSO6, FeatureHostTSO4 | FeatureHostTSO6 | FeatureHostECN},
		{allOffloads, allOffloads, 2, 1500, FeatureCtrlVQ, FeatureCtrlVQ | FeatureCtrlRx | FeatureCtrlRxExtra | FeatureCtrlVLAN | FeatureCtrlMACAddr |
			FeatureGuestAnnounce | FeatureMQ | FeatureRSS | FeatureHashReport | FeatureNotfCoal | FeatureVQNotfCoal | FeatureCtrlGuestOffloads},
	} {
		var all uint64
		for _, f := range Features {
			all |= f.Bit
		}
		w := newWire(c.pairs)
		w.fromGuest, w.toGuest, w.mtu = c.from, c.to, c.mtu
		d, err := New(Config{Name: "n", Backend: w, MAC: testMAC, Disable: c.disable})
		if err != nil {
			t.Fatal(err)
		}
		if got := d.Info().Features; got != all&^c.without {
			t.Errorf("%+v: lacks %v, has %v", c, FeatureNames(all&^c.without&^got), FeatureNames(got&c.without))
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A driver's choice must be consistent.
func TestNegotiate(t *testing.T) {
	d, err := New(Config{Name: "n", Backend: newWire(2), MAC: testMAC})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, r := range required {
		if err := d.Negotiate(r.feature); err == nil {
			t.Errorf("%v alone is accepted", FeatureNames(r.feature))
		}
	}
	if err := d.Negotiate(d.Info().Features); err != nil {
		t.Error(err)
	}
}

func TestConfigErrors(t *testing.T) {
	ok := Config{Name: "n", Backend: newWire(1), MAC: testMAC}
	for name, c := range map[string]func(*Config){
		"no backend": func(c *Config) { c.Backend = nil }, "address": func(c *Config) { c.MAC = net.HardwareAddr{1, 2, 3, 4, 5, 6} },
		"short": func(c *Config) { c.MAC = c.MAC[:5] }, "MTU": func(c *Config) { c.MTU = 67 }, "mode": func(c *Config) { c.IO = 3 },
		"power": func(c *Config) { c.QueueSize = 100 }, "large": func(c *Config) { c.QueueSize = 2048 }, "pairs": func(c *Config) { c.Backend = newWire(0) },
	} {
		cfg := ok
		c(&cfg)
		if d, err := New(cfg); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
			if d != nil {
				d.Close()
			}
		}
	}
	for _, m := range []IOMode{Poll, Block, Spin} {
		if got, err := ParseIOMode(m.String()); err != nil || got != m {
			t.Error(m)
		}
	}
	if _, err := ParseIOMode("fast"); err == nil {
		t.Error("fast is a mode")
	}
}

// Commands that are cut short, too long or unknown are refused and change nothing.
func TestCommandBounds(t *testing.T) {
	g := newGuest(t, setup{backend: newWire(2)})
	defer g.close()
	g.start()
	key := make([]byte, 40)
	rss := append(append(append(le32(0x3f), le16(1)...), le16(0)...), le16(1)...)
	rss = append(append(append(rss, le16(0)...), le16(2)...), 40)
	rss = append(rss, key...)
	for _, c := range []struct {
		class, number byte
		data          []byte
	}{
		{0, 0, []byte{1}}, {0, 5, []byte{1}}, {1, 0, append(append(append(le32(1), testMAC...), le32(1)...), 1, 0, 0, 0, 0, 1)}, {1, 1, []byte{2, 0, 0, 0, 0, 2}},
		{2, 0, le16(7)}, {2, 1, le16(7)}, {3, 0, nil}, {4, 0, le16(2)}, {4, 1, rss}, {4, 2, append(append(le32(0x3f), make([]byte, 8)...), append([]byte{40}, key...)...)},
		{5, 0, le64(FeatureGuestCSum)}, {6, 0, le32(1, 2)}, {6, 1, le32(3, 4)}, {6, 2, append(le16(1), append(le16(0), le32(5, 6)...)...)},
	} {
		for n := range c.data {
			g.refused(c.class, c.number, c.data[:n]...)
		}
		g.refused(c.class, c.number, append(slices.Clone(c.data), 0)...)
		g.do(c.class, c.number, c.data...)
	}
	for _, c := range [][]byte{{0, 6}, {1, 2, 0}, {2, 2, 0, 0}, {3, 1}, {4, 3}, {5, 1}, {6, 4}, {7, 0}, {255, 255}} {
		g.refused(c[0], c[1], c[2:]...)
	}
	// Values out of range.
	g.refused(2, 0, le16(4096)...)
	g.refused(4, 0, le16(0)...)
	g.refused(4, 0, le16(3)...)
	g.refused(5, 0, le64(1)...)
	g.refused(6, 2, append(le16(9), append(le16(0), le32(5, 6)...)...)...)
	for at, v := range map[int]byte{3: 1, 4: 2, 5: 1, 6: 2, 8: 2, 12: 0, 13: 1, 14: 41} {
		bad := slices.Clone(rss)
		bad[at] = v
		g.refused(4, 1, bad...)
	}
	if s := g.device.QueueStats(g.control.index); s.Refused.Load() == 0 || s.Commands.Load() <= s.Refused.Load() {
		t.Errorf("%d commands, %d refused", s.Commands.Load(), s.Refused.Load())
	}
	if len(g.observed()) != 0 {
		t.Error(g.observed())
	}
}

// A command that has no room for an answer stops the control queue and nothing else.
func TestCommandWithoutAnswer(t *testing.T) {
	g := newGuest(t, setup{backend: newWire(1)})
	defer g.close()
	g.start()
	g.control.add(0, []part{{g.control.address(0), 3, false}})
	g.control.kick()
	g.until("the device needs a reset", g.t.NeedsReset)
	g.send(0, ethernet(testMAC, 50, 1))
	g.until("the frame is sent", func() bool { return len(g.s.backend.(*wire).sent(0)) == 1 })
}

// Data of a command may be split anywhere.
func TestSplitCommand(t *testing.T) {
	g := newGuest(t, setup{backend: newWire(1)})
	defer g.close()
	g.start()
	b := g.control.buffer(0)
	copy(b, []byte{1, 1, 2, 0, 0, 0, 0, 0x55, 0xff})
	var parts []part
	for i := range uint64(9) {
		parts = append(parts, part{g.control.address(0) + i, 1, i == 8})
	}
	g.control.add(0, parts)
	g.control.kick()
	g.until("the command is answered", func() bool { _, _, ok := g.control.reap(); return ok })
	if b[8] != ackOK || g.device.State().MAC.String() != "02:00:00:00:00:55" || g.read(deviceConfig+5, 1) != 0x55 {
		t.Errorf("answer %d, address %v", b[8], g.device.State().MAC)
	}
}

// A reset gives everything back, at the backend too.
func TestResetForgets(t *testing.T) {
	w := newWire(2)
	g := newGuest(t, setup{backend: w})
	defer g.close()
	g.start()
	g.do(4, 0, 2, 0)
	g.do(0, 0, 1)
	g.do(1, 1, 2, 0, 0, 0, 0, 9)
	g.do(2, 0, 5, 0)
	g.do(6, 1, le32(10, 20)...)
	g.rss([]uint16{0, 1}, backend.SupportedHashTypes)
	g.device.Announce()
	if a, o, s := w.state(); a != 2 || o != allOffloads || s == nil {
		t.Fatalf("%d pairs, offloads %v, steering %v", a, o, s)
	}
	g.write(regStatus, 1, 0)
	if a, o, s := w.state(); a != 1 || o != 0 || s != nil {
		t.Errorf("%d pairs, offloads %v, steering %v", a, o, s)
	}
	s := g.device.State()
	if s.Active || s.Announcing || s.Filter.Modes != 0 || s.Filter.VLANs != nil || s.RSS.On || s.MAC.String() != testMAC.String() || s.Coalescing[0] != (Coalescing{}) {
		t.Errorf("%+v", s)
	}
	g.start()
	w.put(0, ethernet(testMAC, 50, 1))
	g.receive(0)
}

func TestAnnounceAndLink(t *testing.T) {
	w := newWire(1)
	g := newGuest(t, setup{backend: w})
	defer g.close()
	g.device.Announce() // nobody is there
	g.start()
	if g.read(deviceConfig+6, 2) != 1 || g.interrupts(-1) != 0 {
		t.Fatal("announced to nobody")
	}
	generation := g.read(21, 1)
	g.device.Announce()
	if g.read(deviceConfig+6, 2) != 3 || g.interrupts(-1) != 1 || g.read(21, 1) == generation {
		t.Errorf("status %d, %d interrupts", g.read(deviceConfig+6, 2), g.interrupts(-1))
	}
	g.do(3, 0)
	if g.read(deviceConfig+6, 2) != 1 {
		t.Error("the acknowledgement is not heard")
	}
	g.device.SetLink(false)
	g.device.SetLink(false)
	if g.read(deviceConfig+6, 2) != 0 || g.interrupts(-1) != 2 {
		t.Errorf("status %d, %d interrupts", g.read(deviceConfig+6, 2), g.interrupts(-1))
	}
	// Frames are lost both ways, and counted.
	w.put(0, ethernet(testMAC, 50, 1))
	g.send(0, ethernet(testMAC, 50, 1))
	g.until("both are dropped", func() bool {
		return g.device.QueueStats(0).Drops[DropLink].Load() == 1 && g.device.QueueStats(1).Drops[DropLink].Load() == 1
	})
	g.device.SetLink(true)
	w.put(0, ethernet(testMAC, 50, 2))
	if r := g.receive(0); r.frame[14] != 2 || g.read(deviceConfig+6, 2) != 1 {
		t.Error("the link does not come back")
	}
	if err := g.device.SetMAC(net.HardwareAddr{2, 0, 0, 0, 0, 0x77}); err != nil || g.read(deviceConfig+5, 1) != 0x77 {
		t.Error(err)
	}
	w.put(0, ethernet([]byte{2, 0, 0, 0, 0, 0x77}, 50, 3))
	if r := g.receive(0); r.frame[14] != 3 {
		t.Error("the new address is not received")
	}
}

// What the driver does not accept does not reach it.
func TestGuestOffloads(t *testing.T) {
	w := newWire(1)
	g := newGuest(t, setup{backend: w})
	defer g.close()
	g.start()
	f := ethernet(testMAC, 100, 1)
	long := ethernet(testMAC, 4000, 1)
	tso := backend.Header{Flags: backend.FlagNeedsCsum, GSOType: backend.GSOTCPv4, GSOSize: 1448, NumBuffers: 1}
	passes := func(h backend.Header, f []byte) received { t.Helper(); w.putHeader(0, h, f); return g.receive(0) }
	drops := func(why Drop, h backend.Header, f []byte) {
		t.Helper()
		was := g.device.QueueStats(0).Drops[why].Load()
		w.putHeader(0, h, f)
		g.until("the frame is dropped as "+why.String(), func() bool { return g.device.QueueStats(0).Drops[why].Load() == was+1 })
	}
	if r := passes(tso, long); r.header.GSOType != backend.GSOTCPv4 || len(r.frame) != len(long) {
		t.Errorf("%+v", r.header)
	}
	passes(backend.Header{Flags: backend.FlagNeedsCsum, GSOType: backend.GSOTCPv6 | backend.GSOECN, NumBuffers: 1}, long)
	passes(backend.Header{Flags: backend.FlagNeedsCsum, GSOType: backend.GSOUDPL4, NumBuffers: 1}, long)
	drops(DropTooLong, backend.Header{NumBuffers: 1}, long) // longer than the MTU
	g.do(5, 0, le64(FeatureGuestCSum|FeatureGuestTSO4)...)
	if _, o, _ := w.state(); o != backend.Checksum|backend.TSO4 {
		t.Errorf("offloads %v", o)
	}
	passes(tso, long)
	drops(DropOffload, backend.Header{Flags: backend.FlagNeedsCsum, GSOType: backend.GSOTCPv4 | backend.GSOECN, NumBuffers: 1}, f)
	drops(DropOffload, backend.Header{Flags: backend.FlagNeedsCsum, GSOType: backend.GSOTCPv6, NumBuffers: 1}, f)
	drops(DropOffload, backend.Header{Flags: backend.FlagNeedsCsum, GSOType: backend.GSOUDPL4, NumBuffers: 1}, f)
	drops(DropOffload, backend.Header{GSOType: 77, NumBuffers: 1}, f)
	if r := passes(backend.Header{Flags: backend.FlagDataValid, NumBuffers: 1}, f); r.header.Flags != backend.FlagDataValid {
		t.Errorf("%+v", r.header)
	}
	g.do(5, 0, le64(0)...)
	drops(DropOffload, backend.Header{Flags: backend.FlagNeedsCsum, NumBuffers: 1}, f)
	if r := passes(backend.Header{Flags: backend.FlagDataValid, NumBuffers: 1}, f); r.header.Flags != 0 {
		t.Errorf("%+v", r.header)
	}
}
