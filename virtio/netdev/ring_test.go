package netdev

import "encoding/binary"

// part is one buffer of guest memory as a driver offers it.
type part struct {
	addr  uint64
	len   uint32
	write bool
}

// ring is the driver's side of a virtqueue, as Linux's virtio_ring.c plays it.
type ring interface {
	add(token int, parts []part) bool
	needsKick() bool
	reap() (token int, written uint32, ok bool)
	enableInterrupts()
}

// Where a ring of up to 256 entries is, from its base.
const (
	descAt   = 0
	driverAt = 0x4000
	deviceAt = 0x5000
	tablesAt = 0x8000 // 256 bytes for each entry
	ringSize = 0x18000
)

const (
	descNext, descWrite, descIndirect = 1, 2, 4
	descAvail, descUsed               = 1 << 7, 1 << 15
)

// splitRing is the driver of a split ring. With eventIdx the driver asks for an interrupt at every used buffer.
type splitRing struct {
	ram                []byte
	base               uint64
	size               int
	eventIdx, indirect bool
	free               []uint16
	chains             map[uint16]chainOf
	idx, kicked, last  uint16
}

type chainOf struct {
	token int
	desc  []uint16
}

func newSplitRing(ram []byte, base uint64, size int, eventIdx, indirect bool) *splitRing {
	d := &splitRing{ram: ram, base: base, size: size, eventIdx: eventIdx, indirect: indirect, chains: map[uint16]chainOf{}}
	for i := range size {
		d.free = append(d.free, uint16(i))
	}
	return d
}

func putDesc(b []byte, p part, flags, next uint16) {
	if p.write {
		flags |= descWrite
	}
	binary.LittleEndian.PutUint64(b, p.addr)
	binary.LittleEndian.PutUint32(b[8:], p.len)
	binary.LittleEndian.PutUint16(b[12:], flags)
	binary.LittleEndian.PutUint16(b[14:], next)
}

func (d *splitRing) add(token int, parts []part) bool {
	need := len(parts)
	if d.indirect {
		need = 1
	}
	if len(d.free) < need {
		return false
	}
	taken := append([]uint16(nil), d.free[:need]...)
	d.free = d.free[need:]
	head := taken[0]
	flagsOf := func(i int) uint16 {
		if i < len(parts)-1 {
			return descNext
		}
		return 0
	}
	if d.indirect {
		at := tablesAt + int(head)*256
		for i, p := range parts {
			putDesc(d.ram[at+16*i:], p, flagsOf(i), uint16(i+1))
		}
		putDesc(d.ram[descAt+16*int(head):], part{addr: d.base + uint64(at), len: uint32(16 * len(parts))}, descIndirect, 0)
	} else {
		for i, p := range parts {
			next := uint16(0)
			if i < len(parts)-1 {
				next = taken[i+1]
			}
			putDesc(d.ram[descAt+16*int(taken[i]):], p, flagsOf(i), next)
		}
	}
	d.chains[head] = chainOf{token, taken}
	binary.LittleEndian.PutUint16(d.ram[driverAt+4+2*(int(d.idx)%d.size):], head)
	d.idx++
	word(d.ram, driverAt).Store(uint32(d.idx) << 16)
	return true
}

func (d *splitRing) needsKick() bool {
	old := d.kicked
	d.kicked = d.idx
	if d.eventIdx {
		at := deviceAt + 4 + 8*d.size
		event := uint16(word(d.ram, at&^3).Load() >> (at & 2 * 8))
		return d.idx-event-1 < d.idx-old
	}
	return word(d.ram, deviceAt).Load()&1 == 0
}

func (d *splitRing) reap() (int, uint32, bool) {
	if uint16(word(d.ram, deviceAt).Load()>>16) == d.last {
		return 0, 0, false
	}
	e := d.ram[deviceAt+4+8*(int(d.last)%d.size):]
	id := uint16(binary.LittleEndian.Uint32(e))
	c := d.chains[id]
	delete(d.chains, id)
	d.free = append(d.free, c.desc...)
	d.last++
	return c.token, binary.LittleEndian.Uint32(e[4:]), true
}

func (d *splitRing) enableInterrupts() {
	if d.eventIdx {
		// used_event is in the low half of its word when the size is even.
		word(d.ram, driverAt+4+2*d.size).Store(uint32(d.last))
	}
}

// packedRing is the driver of a packed ring.
type packedRing struct {
	ram                []byte
	base               uint64
	size, free         int
	eventIdx, indirect bool
	ids                []uint16
	chains             map[uint16]packedChain
	next, last         int
	nextWrap, lastWrap bool
	added              int
}

type packedChain struct{ token, slots int }

func newPackedRing(ram []byte, base uint64, size int, eventIdx, indirect bool) *packedRing {
	d := &packedRing{ram: ram, base: base, size: size, free: size, eventIdx: eventIdx, indirect: indirect, chains: map[uint16]packedChain{}, nextWrap: true, lastWrap: true}
	for i := range size {
		d.ids = append(d.ids, uint16(size-1-i))
	}
	return d
}

func (d *packedRing) add(token int, parts []part) bool {
	need := len(parts)
	if d.indirect {
		need = 1
	}
	if d.free < need || len(d.ids) == 0 {
		return false
	}
	id := d.ids[0]
	d.ids = d.ids[1:]
	list := parts
	if d.indirect {
		at := tablesAt + int(id)*256
		for i, p := range parts {
			b := d.ram[at+16*i:]
			putDesc(b, p, 0, 0)
			flags := binary.LittleEndian.Uint16(b[12:])
			binary.LittleEndian.PutUint16(b[12:], 0)
			binary.LittleEndian.PutUint16(b[14:], flags)
		}
		list = []part{{addr: d.base + uint64(at), len: uint32(16 * len(parts))}}
	}
	head, headFlags := d.next, uint32(0)
	for i, p := range list {
		flags := uint32(descAvail)
		if !d.nextWrap {
			flags = descUsed
		}
		if p.write {
			flags |= descWrite
		}
		if i < len(list)-1 {
			flags |= descNext
		}
		if d.indirect {
			flags |= descIndirect
		}
		at := descAt + 16*d.next
		binary.LittleEndian.PutUint64(d.ram[at:], p.addr)
		binary.LittleEndian.PutUint32(d.ram[at+8:], p.len)
		if i == 0 {
			headFlags = uint32(id) | flags<<16
		} else {
			word(d.ram, at+12).Store(uint32(id) | flags<<16)
		}
		if d.next++; d.next == d.size {
			d.next, d.nextWrap = 0, !d.nextWrap
		}
	}
	d.free -= need
	d.added += need
	d.chains[id] = packedChain{token, need}
	word(d.ram, descAt+16*head+12).Store(headFlags)
	return true
}

func (d *packedRing) needsKick() bool {
	n := d.added
	d.added = 0
	e := word(d.ram, deviceAt).Load()
	if flags := e >> 16 & 3; flags != 2 {
		return flags != 1
	}
	event, wrap := int(e&0x7fff), e>>15&1 != 0
	if wrap != d.nextWrap {
		event -= d.size
	}
	return uint16(d.next-event-1) < uint16(n)
}

func (d *packedRing) reap() (int, uint32, bool) {
	f := word(d.ram, descAt+16*d.last+12).Load() >> 16
	if (f&descAvail != 0) != d.lastWrap || (f&descUsed != 0) != d.lastWrap {
		return 0, 0, false
	}
	b := d.ram[descAt+16*d.last:]
	id := uint16(word(b, 12).Load())
	written := binary.LittleEndian.Uint32(b[8:])
	c := d.chains[id]
	delete(d.chains, id)
	d.ids = append(d.ids, id)
	d.free += c.slots
	if d.last += c.slots; d.last >= d.size {
		d.last, d.lastWrap = d.last-d.size, !d.lastWrap
	}
	return c.token, written, true
}

func (d *packedRing) enableInterrupts() {
	e := uint32(0)
	if d.eventIdx {
		e = 2<<16 | uint32(d.last)
		if d.lastWrap {
			e |= 1 << 15
		}
	}
	word(d.ram, driverAt).Store(e)
}
