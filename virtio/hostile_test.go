package virtio

import (
	"encoding/binary"
	"errors"
	"testing"

	"doorbell/guest/memory"
)

// desc16 writes a descriptor of a split ring (or table) or, with the last two fields swapped, of a packed one.
func desc16(b []byte, addr uint64, length uint32, c, d uint16) {
	binary.LittleEndian.PutUint64(b, addr)
	binary.LittleEndian.PutUint32(b[8:], length)
	binary.LittleEndian.PutUint16(b[12:], c)
	binary.LittleEndian.PutUint16(b[14:], d)
}

func TestHostileSplit(t *testing.T) {
	avail := func(r *rig, idx uint16, heads ...uint16) {
		for i, h := range heads {
			binary.LittleEndian.PutUint16(r.ram[driverAt+4+2*i:], h)
		}
		binary.LittleEndian.PutUint16(r.ram[driverAt+2:], idx)
	}
	table := func(r *rig, i int, addr uint64, length uint32, flags, next uint16) {
		desc16(r.ram[tablesAt+16*i:], addr, length, flags, next)
	}
	for _, c := range []struct {
		name string
		make func(r *rig, d func(i int, addr uint64, length uint32, flags, next uint16))
		want error
	}{
		{"avail index jumps", func(r *rig, d func(int, uint64, uint32, uint16, uint16)) { avail(r, 9) }, ErrAvailIndex},
		{"avail index runs backwards", func(r *rig, d func(int, uint64, uint32, uint16, uint16)) { avail(r, 0xffff) }, ErrAvailIndex},
		{"head beyond the table", func(r *rig, d func(int, uint64, uint32, uint16, uint16)) { avail(r, 1, 8) }, ErrHead},
		{"next beyond the table", func(r *rig, d func(int, uint64, uint32, uint16, uint16)) { d(0, buffersAt, 1, descNext, 8) }, ErrNext},
		{"loop", func(r *rig, d func(int, uint64, uint32, uint16, uint16)) {
			d(0, buffersAt, 1, descNext, 1)
			d(1, buffersAt, 1, descNext, 0)
		}, ErrLoop},
		{"no bytes", func(r *rig, d func(int, uint64, uint32, uint16, uint16)) { d(0, buffersAt, 0, 0, 0) }, ErrEmpty},
		{"readable after writable", func(r *rig, d func(int, uint64, uint32, uint16, uint16)) {
			d(0, buffersAt, 1, descNext|descWrite, 1)
			d(1, buffersAt, 1, 0, 0)
		}, ErrOrder},
		{"indirect with next", func(r *rig, d func(int, uint64, uint32, uint16, uint16)) {
			d(0, tablesAt, 16, descNext|descIndirect, 1)
		}, ErrIndirectChained},
		{"indirect in indirect", func(r *rig, d func(int, uint64, uint32, uint16, uint16)) {
			d(0, tablesAt, 16, descIndirect, 0)
			table(r, 0, tablesAt, 16, descIndirect, 0)
		}, ErrIndirectNested},
		{"indirect table of no bytes", func(r *rig, d func(int, uint64, uint32, uint16, uint16)) { d(0, tablesAt, 0, descIndirect, 0) }, ErrIndirectTable},
		{"indirect table cut short", func(r *rig, d func(int, uint64, uint32, uint16, uint16)) { d(0, tablesAt, 24, descIndirect, 0) }, ErrIndirectTable},
		{"indirect table beyond the queue's size", func(r *rig, d func(int, uint64, uint32, uint16, uint16)) { d(0, tablesAt, 16*9, descIndirect, 0) }, ErrIndirectTable},
		{"indirect table of 4 GiB", func(r *rig, d func(int, uint64, uint32, uint16, uint16)) { d(0, tablesAt, 0xfffffff0, descIndirect, 0) }, ErrIndirectTable},
		{"loop in the table", func(r *rig, d func(int, uint64, uint32, uint16, uint16)) {
			d(0, tablesAt, 32, descIndirect, 0)
			table(r, 0, buffersAt, 1, descNext, 0)
		}, ErrLoop},
		{"next beyond the indirect table", func(r *rig, d func(int, uint64, uint32, uint16, uint16)) {
			d(0, tablesAt, 32, descIndirect, 0)
			table(r, 0, buffersAt, 1, descNext, 2)
		}, ErrNext},
		{"too many segments with an indirect tail", func(r *rig, d func(int, uint64, uint32, uint16, uint16)) {
			d(0, buffersAt, 1, descNext, 1)
			d(1, tablesAt, 16*8, descIndirect, 0)
			for i := range 8 {
				table(r, i, buffersAt, 1, descNext, uint16(i+1))
			}
		}, ErrLoop},
	} {
		r := newRig(t, ringKind{eventIdx: true}, 8)
		avail(r, 1, 0)
		c.make(r, func(i int, addr uint64, length uint32, flags, next uint16) {
			desc16(r.ram[descAt+16*i:], addr, length, flags, next)
		})
		refused(t, c.name, r, c.want)
	}
}

func TestHostilePacked(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(r *rig, d func(i int, addr uint64, length uint32, flags uint16))
		want error
	}{
		{"loop", func(r *rig, d func(int, uint64, uint32, uint16)) {
			for i := range 8 {
				d(i, buffersAt, 1, descNext)
			}
		}, ErrLoop},
		{"no bytes", func(r *rig, d func(int, uint64, uint32, uint16)) { d(0, buffersAt, 0, 0) }, ErrEmpty},
		{"readable after writable", func(r *rig, d func(int, uint64, uint32, uint16)) {
			d(0, buffersAt, 1, descNext|descWrite)
			d(1, buffersAt, 1, 0)
		}, ErrOrder},
		{"indirect with next", func(r *rig, d func(int, uint64, uint32, uint16)) { d(0, tablesAt, 16, descNext|descIndirect) }, ErrIndirectChained},
		{"indirect in indirect", func(r *rig, d func(int, uint64, uint32, uint16)) {
			d(0, tablesAt, 16, descIndirect)
			desc16(r.ram[tablesAt:], tablesAt, 16, 0, descIndirect)
		}, ErrIndirectNested},
		{"indirect table cut short", func(r *rig, d func(int, uint64, uint32, uint16)) { d(0, tablesAt, 17, descIndirect) }, ErrIndirectTable},
		{"indirect table beyond the queue's size", func(r *rig, d func(int, uint64, uint32, uint16)) { d(0, tablesAt, 16*9, descIndirect) }, ErrIndirectTable},
	} {
		r := newRig(t, ringKind{packed: true, eventIdx: true}, 8)
		c.make(r, func(i int, addr uint64, length uint32, flags uint16) {
			desc16(r.ram[descAt+16*i:], addr, length, 0, flags|descAvail)
		})
		refused(t, "packed "+c.name, r, c.want)
	}

	// More buffers than entries: the driver takes back what the device still has.
	r := newRig(t, ringKind{packed: true}, 2)
	for i := range 2 {
		desc16(r.ram[descAt+16*i:], buffersAt, 1, 0, descAvail)
	}
	c := r.queue.NewChain()
	for range 2 {
		if ok, err := r.queue.Pop(c); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	for i := range 2 {
		desc16(r.ram[descAt+16*i:], buffersAt, 1, 0, descUsed)
	}
	refused(t, "packed avail beyond the ring", r, ErrAvailIndex)
}

func TestHostileAddresses(t *testing.T) {
	for _, k := range ringKinds {
		for _, p := range []part{
			{testMemory, 1, false}, {testMemory - 1, 2, false}, {0, 0xfffffffe, true}, {^uint64(0), 1, false}, {^uint64(0), 0xfffffffe, true},
			{memory.HoleStart, 16, false}, {1 << 63, 1, false},
		} {
			for _, indirect := range []bool{false, true} {
				r := newRig(t, k, 8)
				r.driver.add(0, []part{{buffersAt, 1, false}, p}, indirect)
				if _, err := r.queue.Pop(r.queue.NewChain()); !errors.As(err, new(*memory.RangeError)) {
					t.Errorf("%s: %+v: error %v", k.name, p, err)
				}
			}
		}
	}
}

func TestIndirectMustBeNegotiated(t *testing.T) {
	for _, k := range ringKinds {
		r := newRig(t, k, 8)
		c := ringConfig{memory: r.memory, size: 8, desc: descAt, driver: driverAt, device: deviceAt, eventIdx: k.eventIdx}
		var err error
		if r.queue, err = newQueue(3, c, k.packed, r.port, r.queue.kick, new(QueueStats)); err != nil {
			t.Fatal(err)
		}
		r.driver.add(0, []part{{buffersAt, 1, false}}, true)
		refused(t, k.name, r, ErrIndirect)
	}
}

// refused pops and expects the typed error, once told to the port, and the queue stopped.
func refused(t *testing.T, name string, r *rig, want error) {
	t.Helper()
	c := r.queue.NewChain()
	_, err := r.queue.Pop(c)
	var qe *QueueError
	if !errors.Is(err, want) || !errors.As(err, &qe) || qe.Queue != 3 {
		t.Errorf("%s: error %v, want %v", name, err, want)
		return
	}
	if ok, again := r.queue.Pop(c); ok || again != err || len(r.port.errs) != 1 {
		t.Errorf("%s: popped again: %v, %v; %d reports", name, ok, again, len(r.port.errs))
	}
	if r.queue.EnableKicks() || r.queue.Available() {
		t.Errorf("%s: a stopped queue has something to do", name)
	}
}

func TestRingPlaces(t *testing.T) {
	m, err := memory.NewHeap(testMemory)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name                 string
		packed               bool
		size                 int
		desc, driver, device uint64
		ok                   bool
	}{
		{"split", false, 8, 0, 0x1002, 0x2004, true},
		{"split at the end of memory", false, 1, testMemory - 16, testMemory - 16 - 8, testMemory - 32 - 16, true},
		{"split available ring up to the last byte", false, 1, 0, testMemory - 8, 0x100, true},
		{"size 0", false, 0, 0, 0x1000, 0x2000, false},
		{"size 12", false, 12, 0, 0x1000, 0x2000, false},
		{"size 65536", false, 65536, 0, 0x1000, 0x2000, false},
		{"descriptors unaligned", false, 8, 8, 0x1000, 0x2000, false},
		{"available ring unaligned", false, 8, 0, 0x1001, 0x2000, false},
		{"used ring unaligned", false, 8, 0, 0x1000, 0x2002, false},
		{"descriptors outside", false, 8, testMemory - 16, 0x1000, 0x2000, false},
		{"available ring outside", false, 8, 0, testMemory, 0x2000, false},
		{"used ring outside", false, 8, 0, 0x1000, ^uint64(3), false},
		{"packed", true, 12, 16, 0x1004, 0x1008, true},
		{"packed size 0", true, 0, 16, 0x1004, 0x1008, false},
		{"packed size 32769", true, 32769, 16, 0x1004, 0x1008, false},
		{"packed driver area unaligned", true, 8, 16, 0x1002, 0x1008, false},
		{"packed device area outside", true, 8, 16, 0x1004, testMemory, false},
		{"packed driver area outside", true, 8, 16, ^uint64(3), 0x1008, false},
		{"packed descriptors outside", true, 8, testMemory, 0x1004, 0x1008, false},
	} {
		rc := ringConfig{memory: m, size: c.size, desc: c.desc, driver: c.driver, device: c.device, eventIdx: true}
		_, err := newQueue(0, rc, c.packed, nil, nil, nil)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestAvailEventKeepsItsNeighbour: the two bytes behind the used ring are somebody else's.
func TestAvailEventKeepsItsNeighbour(t *testing.T) {
	r := newRig(t, ringKind{eventIdx: true}, 8)
	at := deviceAt + 4 + 8*8
	binary.LittleEndian.PutUint32(r.ram[at:], 0xabcd1234)
	r.queue.EnableKicks()
	if v := binary.LittleEndian.Uint32(r.ram[at:]); v != 0xabcd0000 {
		t.Errorf("avail_event and its neighbour: %#x", v)
	}
}
