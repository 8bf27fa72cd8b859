package netdev

import (
	"encoding/binary"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// model is what the driver has asked for, kept as simply as can be.
type model struct {
	mac                [6]byte
	on                 [6]bool // by command of class VIRTIO_NET_CTRL_RX
	unicast, multicast [][6]byte
	vlan               map[uint16]bool
}

func (m *model) accepts(f []byte) bool {
	dst := [6]byte(f[:6])
	promisc, allmulti, alluni, nomulti, nouni, nobcast := m.on[0], m.on[1], m.on[2], m.on[3], m.on[4], m.on[5]
	if promisc {
		return true
	}
	if f[12] == 0x81 && f[13] == 0 && !m.vlan[binary.BigEndian.Uint16(f[14:])&0xfff] {
		return false
	}
	if dst == [6]byte{255, 255, 255, 255, 255, 255} {
		return !nobcast
	}
	if dst[0]&1 == 1 {
		return !nomulti && (allmulti || len(m.multicast) > maxAddresses || slices.Contains(m.multicast, dst))
	}
	return !nouni && (alluni || dst == m.mac || len(m.unicast) > maxAddresses || slices.Contains(m.unicast, dst))
}

// What the device lets through is what the model wants, after any commands.
func TestFilterModel(t *testing.T) {
	drawAddress := func(t *rapid.T, multicast bool) [6]byte {
		a := [6]byte{2, 0, 0, 0, 0, byte(rapid.IntRange(0, 5).Draw(t, "address"))}
		if multicast {
			a[0] = 3
		}
		return a
	}
	drawTable := func(t *rapid.T, multicast bool) (list [][6]byte) {
		n := rapid.IntRange(0, 4).Draw(t, "entries")
		if rapid.IntRange(0, 5).Draw(t, "overflow") == 0 {
			n = maxAddresses + 1
		}
		for range n {
			list = append(list, drawAddress(t, multicast))
		}
		return list
	}
	rapid.Check(t, func(t *rapid.T) {
		w := newWire(1)
		g := newGuest(t, setup{backend: w})
		defer g.close()
		g.start()
		m := &model{mac: [6]byte(testMAC), vlan: map[uint16]bool{}}
		dropped, passed := uint64(0), uint64(0)
		t.Repeat(map[string]func(*rapid.T){
			"mode": func(t *rapid.T) {
				n, on := rapid.IntRange(0, 5).Draw(t, "mode"), rapid.Bool().Draw(t, "on")
				m.on[n] = on
				v := byte(0)
				if on {
					v = 1
				}
				g.do(0, byte(n), v)
			},
			"tables": func(t *rapid.T) {
				m.unicast, m.multicast = drawTable(t, false), drawTable(t, true)
				data := le32(uint32(len(m.unicast)))
				for _, a := range m.unicast {
					data = append(data, a[:]...)
				}
				data = append(data, le32(uint32(len(m.multicast)))...)
				for _, a := range m.multicast {
					data = append(data, a[:]...)
				}
				g.do(1, 0, data...)
			},
			"address": func(t *rapid.T) { m.mac = drawAddress(t, false); g.do(1, 1, m.mac[:]...) },
			"vlan": func(t *rapid.T) {
				id, in := rapid.Uint16Range(0, 3).Draw(t, "id")*1365, rapid.Bool().Draw(t, "in")
				m.vlan[id] = in
				if in {
					g.do(2, 0, le16(id)...)
				} else {
					g.do(2, 1, le16(id)...)
				}
			},
			"reset": func(t *rapid.T) {
				g.start()
				m = &model{mac: [6]byte(testMAC), vlan: map[uint16]bool{}}
			},
			"frame": func(t *rapid.T) {
				dst := drawAddress(t, rapid.Bool().Draw(t, "multicast"))
				if rapid.IntRange(0, 4).Draw(t, "broadcast") == 0 {
					dst = [6]byte{255, 255, 255, 255, 255, 255}
				}
				f := ethernet(dst[:], 50, byte(passed))
				if rapid.Bool().Draw(t, "tagged") {
					binary.BigEndian.PutUint16(f[12:], 0x8100)
					binary.BigEndian.PutUint16(f[14:], rapid.Uint16Range(0, 3).Draw(t, "id")*1365|0xe000)
				}
				w.put(0, f)
				if m.accepts(f) {
					passed++
					if r := g.receive(0); r.frame[20] != f[20] {
						t.Fatalf("another frame: %x, not %x", r.frame, f)
					}
				} else {
					dropped++
					g.until("the frame is dropped", func() bool { return g.device.QueueStats(0).Drops[DropFilter].Load() == dropped })
				}
			},
			"": func(t *rapid.T) {
				if p := g.device.QueueStats(0).Packets.Load(); p != passed {
					t.Fatalf("%d frames passed, want %d", p, passed)
				}
			},
		})
	})
}

// A driver that has not negotiated filters gets everything.
func TestNoFilter(t *testing.T) {
	w := newWire(1)
	g := newGuest(t, setup{backend: w, disable: FeatureCtrlRx | FeatureCtrlVLAN})
	defer g.close()
	g.start()
	f := ethernet([]byte{3, 1, 2, 3, 4, 5}, 50, 1)
	f[12], f[13] = 0x81, 0
	w.put(0, f)
	g.receive(0)
	g.refused(0, 0, 1)
	g.refused(2, 0, 1, 0)
}
