package netdev

import (
	"bytes"
	"testing"
)

// FuzzCommand carries out any bytes as a control command, cut anywhere, with any features: it is answered, its result has room, and the
// device is in a state that a driver may be in.
func FuzzCommand(f *testing.F) {
	for _, c := range [][]byte{
		{0, 0, 1}, {0, 5, 0}, append([]byte{1, 0}, append(le32(1), append(append([]byte{}, testMAC...), le32(0)...)...)...), {1, 0, 255, 255, 255, 255}, {1, 1, 2, 0, 0, 0, 0, 1},
		{2, 0, 255, 15}, {3, 0}, {4, 0, 2, 0}, append([]byte{4, 1}, rssConfig([]uint16{0, 1, 1, 0}, 1, 0x3f, 2)...),
		append([]byte{4, 2}, append(append(le32(0x3f), make([]byte, 8)...), append([]byte{40}, publishedKey...)...)...),
		append([]byte{5, 0}, le64(FeatureGuestCSum)...), append([]byte{6, 0}, le32(1, 2)...), {6, 2, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0}, {6, 3, 1, 0, 0, 0},
	} {
		f.Add(c, uint8(3), ^uint64(0), uint64(8), false)
	}
	f.Fuzz(func(t *testing.T, data []byte, cut uint8, features, room uint64, noSteering bool) {
		w := newWire(2)
		w.noSteering = noSteering
		d, err := New(Config{Name: "n", Backend: w, MAC: testMAC})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		d.enabled[0], d.enabled[1] = true, true
		if err := d.begin(consistent(features & d.offered)); err != nil {
			t.Fatal(err)
		}
		var list [][]byte
		for rest := data; len(rest) > 0; {
			n := min(int(cut)+1, len(rest))
			list = append(list, rest[:n])
			rest = rest[n:]
		}
		before := d.State()
		c := &command{list: list, len: uint64(len(data)), room: room}
		ok := d.execute(c)
		after := d.State()
		if !ok && (before.ReceivePairs != after.ReceivePairs || before.MAC.String() != after.MAC.String() || before.Offloads != after.Offloads || before.RSS.On != after.RSS.On) {
			t.Errorf("a refused command changed\n%+v to\n%+v", before, after)
		}
		if ok && c.left() != 0 || uint64(len(c.result)) > room {
			t.Errorf("%d bytes left, result %x", c.left(), c.result)
		}
		p := d.policy.Load()
		if p.receive < 1 || p.receive > 2 || p.transmit < 1 || p.transmit > 2 || p.steer != nil && p.relays == nil || len(after.Filter.Unicast) > maxAddresses {
			t.Errorf("policy %+v", p)
		}
		if active, _, _ := w.state(); active != max(p.receive, p.transmit) {
			t.Errorf("%d pairs at the backend, %d and %d here", active, p.receive, p.transmit)
		}
	})
}

// The fuzz targets with a whole guest use threads that block: fuzzing has one processor, and a test that turns round while it waits keeps the network
// poller from it.

// FuzzTransmit transmits a buffer of any shape and contents: it arrives as it was, or stops its queue, and the rest of the device works.
func FuzzTransmit(f *testing.F) {
	f.Add([]byte{100}, []byte("header and frame"), uint8(0))
	f.Add([]byte{11, 1, 8, 200}, bytes.Repeat([]byte{3}, 60), uint8(1))
	f.Add([]byte{20, 0x80}, []byte{1, 1}, uint8(3))
	f.Add([]byte{127, 127, 127, 127, 127, 127, 127, 127, 127}, []byte{}, uint8(2))
	f.Fuzz(func(t *testing.T, shape, contents []byte, kind uint8) {
		w := newWire(1)
		s := setup{backend: w, io: Block, mapped: true, transport: kinds[kind%4].off}
		if kind&4 != 0 {
			s.disable = FeatureHashReport
		}
		g := newGuest(t, s)
		defer g.close()
		g.start()
		q := g.queues[1]
		at, total := q.address(0), 0
		var parts []part
		bad := false
		// The low seven bits are a length, times 1000 from 64 on; the high bit makes a part writable.
		for _, b := range shape[:min(len(shape), 15)] {
			n := int(b & 0x7f)
			if n >= 64 {
				n = (n - 63) * 1000
			}
			if n == 0 || total+n > q.slot {
				continue
			}
			write := b&0x80 != 0
			bad = bad || write || len(parts) > 0 && parts[len(parts)-1].write
			parts = append(parts, part{at + uint64(total), uint32(n), write})
			total += n
		}
		if len(parts) == 0 {
			return
		}
		copy(q.buffer(0), contents)
		bad = bad || total < g.headerLen() || total > 65565+g.headerLen()
		want := bytes.Clone(q.buffer(0)[:total])
		if !q.add(0, parts) {
			return
		}
		q.kick()
		if bad {
			g.until("the queue stops", g.t.NeedsReset)
		} else {
			g.until("the frame is sent", func() bool { return len(w.sent(0)) == 1 })
			got := w.sent(0)[0]
			if !bytes.Equal(got[:12], want[:12]) || !bytes.Equal(got[12:], want[g.headerLen():]) {
				t.Errorf("sent %x, got %x", want, got)
			}
		}
		g.do(2, 0, 1, 0)
		w.put(0, ethernet(testMAC, 50, 1))
		g.receive(0)
	})
}

// FuzzReceive has any header and frame arrive: it reaches the driver as it was, or is counted as dropped.
func FuzzReceive(f *testing.F) {
	f.Add([]byte{1, 1, 54, 0, 168, 5, 34, 0, 16, 0, 1, 0}, ethernet(testMAC, 60, 1), uint16(2048), uint8(0))
	f.Add([]byte{2, 0x81}, ethernet([]byte{255, 255, 255, 255, 255, 255}, 1400, 1), uint16(60), uint8(6))
	f.Add([]byte{}, []byte{1, 2, 3}, uint16(20), uint8(9))
	f.Fuzz(func(t *testing.T, header, frame []byte, room uint16, kind uint8) {
		w := newWire(1)
		w.noSteering = kind&4 != 0
		g := newGuest(t, setup{backend: w, io: Block, mapped: true, transport: kinds[kind%4].off, receiveSize: 20 + int(room)%4000, queueSize: 64})
		defer g.close()
		g.start()
		if kind&8 != 0 {
			g.do(5, 0, le64(0)...)
		}
		if kind&16 != 0 {
			g.do(4, 2, append(append(le32(0x3f), make([]byte, 8)...), append([]byte{40}, publishedKey...)...)...)
		}
		raw := make([]byte, 12)
		copy(raw, header)
		raw[10], raw[11] = 1, 0
		frame = frame[:min(len(frame), 20000)]
		q := w.queues[0]
		q.mu.Lock()
		q.frames = append(q.frames, append(raw, frame...))
		tell := q.armed
		q.armed = false
		q.mu.Unlock()
		if tell {
			q.notify()
		}
		s := g.device.QueueStats(0)
		lost := func() uint64 { return s.Drops.Total() + q.counters.Drops().Total() }
		got := false
		g.until("the frame is received or dropped", func() bool {
			r, ok := g.poll(0)
			if ok {
				got = true
				if !bytes.Equal(r.frame, frame) {
					t.Fatalf("%d bytes became %d", len(frame), len(r.frame))
				}
			}
			return ok || lost() > 0
		})
		if got == (lost() > 0) {
			t.Errorf("received %v, drops %v", got, s.Drops.ByReason())
		}
	})
}

// FuzzDevice has a driver do anything to the first pair's rings, or to the registers and all rings. Nothing panics or hangs; in the first case the
// second pair's frames flow all the time; and a driver that then begins anew finds a device that works.
func FuzzDevice(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, uint8(0))
	f.Add(bytes.Repeat([]byte{0x02, 0x50, 0x00, 0xff, 0x04, 0, 0, 0}, 6), uint8(1))
	f.Add(bytes.Repeat([]byte{0x03, 0x10, 0x00, 0x01, 0x02, 0x14, 0x00, 0x00}, 6), uint8(2|8))
	f.Add(bytes.Repeat([]byte{0x01, 0x1c, 0x00, 0x01, 0x01, 0x3a, 0x00, 0x01}, 6), uint8(3|8))
	f.Fuzz(func(t *testing.T, ops []byte, kind uint8) {
		w := newWire(2)
		w.noSteering = kind&4 != 0
		anything := kind&8 != 0
		g := newGuest(t, setup{backend: w, io: Block, mapped: true, transport: kinds[kind%4].off, queueSize: 16})
		defer g.close()
		g.start()
		g.do(4, 0, 2, 0)
		sent := 0
		for step := 0; len(ops) >= 4 && step < 64; step++ {
			op, at, v := ops[0], uint64(ops[1])|uint64(ops[2])<<8, uint64(ops[3])
			ops = ops[4:]
			queue := uint64(op >> 4 & 1)
			if anything {
				queue = uint64(op>>4) % 5
			}
			switch op & 3 {
			case 0: // a byte of a ring
				g.ram[queue*regionSize+at%0x6000] = byte(v)
			case 1: // a word of a ring, where rings are small
				g.ram[queue*regionSize+[]uint64{descAt, driverAt, deviceAt}[at%3]+at/3%0x140] = byte(v)
			case 2: // a kick
				g.write(notifyAt+4*queue, 2, v)
			case 3:
				if anything { // a register
					g.write(at%0x40, 1<<(op>>6), v*0x01010101)
				} else { // the queue is reset, and enabled over whatever its memory holds
					g.write(regQueueSelect, 2, queue)
					g.write(regQueueReset, 2, 1)
					base := queue * regionSize
					g.write(regQueueSize, 2, 16)
					g.write(regQueueDesc, 8, base+descAt)
					g.write(regQueueDriver, 8, base+driverAt)
					g.write(regQueueDevice, 8, base+deviceAt)
					g.write(regQueueEnable, 2, 1)
				}
			}
			if step%8 == 0 {
				w.put(0, ethernet(testMAC, 50, 1))
				if !anything {
					w.put(1, ethernet(testMAC, 50, byte(step)))
					if r := g.receive(1); r.frame[14] != byte(step) {
						t.Fatal("the second pair's frame is another")
					}
					g.send(1, ethernet(testMAC, 50, byte(step)))
					sent++
					g.until("the second pair's frame is sent", func() bool { return len(w.sent(1)) == sent })
				}
			}
		}
		g.write(regStatus, 1, 0)
		for _, q := range w.queues {
			q.mu.Lock()
			q.frames = nil
			q.mu.Unlock()
		}
		g.start()
		n := len(w.sent(0))
		g.send(0, ethernet(testMAC, 50, 1))
		g.until("a frame is sent", func() bool { return len(w.sent(0)) == n+1 })
		w.put(0, ethernet(testMAC, 50, 9))
		if r := g.receive(0); r.frame[14] != 9 {
			t.Error("another frame")
		}
	})
}
