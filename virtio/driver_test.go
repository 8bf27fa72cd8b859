package virtio

import (
	"encoding/binary"
	"testing"

	"doorbell/guest/memory"
)

// part is one buffer of guest memory as a driver offers it.
type part struct {
	addr  uint64
	len   uint32
	write bool
}

// driver is the guest's side of a queue, as Linux's virtio_ring.c plays it.
type driver interface {
	// add offers a chain and returns false if the ring has no room. It is visible at once.
	add(token int, parts []part, indirect bool) bool
	// needsKick says whether the device wants to hear of what was added since it was last asked.
	needsKick() bool
	// reap returns the next used chain.
	reap() (token int, written uint32, ok bool)
	// enableInterrupts asks for an interrupt at the next used chain, and says whether there is one already.
	enableInterrupts() (more bool)
	disableInterrupts()
}

// Where the tests put rings of up to 1024 entries, indirect tables and buffers.
const (
	testMemory = 1 << 20
	descAt     = 0x1000
	driverAt   = 0x6000
	deviceAt   = 0x8000
	tablesAt   = 0x10000 // 256 bytes for each ring entry
	tableSize  = 256
	buffersAt  = 0x80000
)

type testPort struct {
	tb         testing.TB
	interrupts *eventFD
	errs       []error
}

func (p *testPort) interruptQueue(int) bool { p.interrupts.signal(); return true }
func (p *testPort) fail(err error)          { p.errs = append(p.errs, err) }

// rig is a queue and its driver over heap memory.
type rig struct {
	memory *memory.Memory
	ram    []byte
	port   *testPort
	queue  *Queue
	driver driver
}

type ringKind struct {
	name             string
	packed, eventIdx bool
}

var ringKinds = []ringKind{{"split", false, false}, {"split event", false, true}, {"packed", true, false}, {"packed event", true, true}}

func newRig(tb testing.TB, k ringKind, size int) *rig {
	tb.Helper()
	m, err := memory.NewHeap(testMemory)
	if err != nil {
		tb.Fatal(err)
	}
	ram, _ := m.Bytes(0, testMemory)
	r := &rig{memory: m, ram: ram, port: &testPort{tb: tb, interrupts: testEventFD(tb)}}
	c := ringConfig{memory: m, size: size, desc: descAt, driver: driverAt, device: deviceAt, eventIdx: k.eventIdx, indirect: true}
	if r.queue, err = newQueue(3, c, k.packed, r.port, testEventFD(tb), new(QueueStats)); err != nil {
		tb.Fatal(err)
	}
	if k.packed {
		r.driver = newPackedDriver(ram, size, k.eventIdx)
	} else {
		r.driver = newSplitDriver(ram, size, k.eventIdx)
	}
	return r
}

func testEventFD(tb testing.TB) *eventFD {
	e, err := newEventFD()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = e.close() })
	return e
}

func putSplit(b []byte, p part, flags, next uint16) {
	if p.write {
		flags |= descWrite
	}
	binary.LittleEndian.PutUint64(b, p.addr)
	binary.LittleEndian.PutUint32(b[8:], p.len)
	binary.LittleEndian.PutUint16(b[12:], flags)
	binary.LittleEndian.PutUint16(b[14:], next)
}

// splitDriver keeps its free descriptors in a list, as Linux does.
type splitDriver struct {
	ram      []byte
	size     int
	eventIdx bool
	free     []uint16
	chains   map[uint16]splitChain
	idx      uint16 // of the available ring
	kicked   uint16 // idx when the device was last asked about
	flags    uint16
	last     uint16 // of the used ring
}

type splitChain struct {
	token int
	desc  []uint16
}

func newSplitDriver(ram []byte, size int, eventIdx bool) *splitDriver {
	d := &splitDriver{ram: ram, size: size, eventIdx: eventIdx, chains: map[uint16]splitChain{}}
	for i := range size {
		d.free = append(d.free, uint16(i))
	}
	return d
}

func (d *splitDriver) add(token int, parts []part, indirect bool) bool {
	need := len(parts)
	if indirect {
		need = 1
	}
	if len(d.free) < need {
		return false
	}
	taken := append([]uint16(nil), d.free[:need]...)
	d.free = d.free[need:]
	head := taken[0]
	if indirect {
		at := tablesAt + int(head)*tableSize
		for i, p := range parts {
			flags := uint16(descNext)
			if i == len(parts)-1 {
				flags = 0
			}
			putSplit(d.ram[at+16*i:], p, flags, uint16(i+1))
		}
		putSplit(d.ram[descAt+16*int(head):], part{addr: uint64(at), len: uint32(16 * len(parts))}, descIndirect, 0)
	} else {
		for i, p := range parts {
			flags, next := uint16(0), uint16(0)
			if i < len(parts)-1 {
				flags, next = descNext, taken[i+1]
			}
			putSplit(d.ram[descAt+16*int(taken[i]):], p, flags, next)
		}
	}
	d.chains[head] = splitChain{token, taken}
	binary.LittleEndian.PutUint16(d.ram[driverAt+4+2*(int(d.idx)%d.size):], head)
	d.idx++
	word(d.ram, driverAt).Store(uint32(d.flags) | uint32(d.idx)<<16)
	return true
}

func (d *splitDriver) needsKick() bool {
	old := d.kicked
	d.kicked = d.idx
	if d.eventIdx {
		event := halfAt(d.ram, deviceAt+4+8*d.size).load()
		return d.idx-event-1 < d.idx-old
	}
	return word(d.ram, deviceAt).Load()&usedNoNotify == 0
}

func (d *splitDriver) reap() (int, uint32, bool) {
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

func (d *splitDriver) enableInterrupts() bool {
	if d.eventIdx {
		halfAt(d.ram, driverAt+4+2*d.size).store(d.last)
	} else {
		d.flags = 0
		word(d.ram, driverAt).Store(uint32(d.idx) << 16)
	}
	return uint16(word(d.ram, deviceAt).Load()>>16) != d.last
}

func (d *splitDriver) disableInterrupts() {
	if !d.eventIdx {
		d.flags = availNoInterrupt
		word(d.ram, driverAt).Store(uint32(d.flags) | uint32(d.idx)<<16)
	}
}

// packedDriver is virtio_ring.c's packed half.
type packedDriver struct {
	ram                []byte
	size, free         int
	eventIdx           bool
	ids                []uint16 // free buffer ids
	chains             map[uint16]packedChain
	next, last         int
	nextWrap, lastWrap bool
	addedSince         int
}

type packedChain struct{ token, slots int }

func newPackedDriver(ram []byte, size int, eventIdx bool) *packedDriver {
	d := &packedDriver{ram: ram, size: size, free: size, eventIdx: eventIdx, chains: map[uint16]packedChain{}, nextWrap: true, lastWrap: true}
	for i := range size {
		d.ids = append(d.ids, uint16(size-1-i))
	}
	return d
}

// put writes a descriptor without its flags word.
func (d *packedDriver) put(b []byte, p part) {
	binary.LittleEndian.PutUint64(b, p.addr)
	binary.LittleEndian.PutUint32(b[8:], p.len)
}

func (d *packedDriver) add(token int, parts []part, indirect bool) bool {
	need := len(parts)
	if indirect {
		need = 1
	}
	if d.free < need || len(d.ids) == 0 {
		return false
	}
	id := d.ids[0]
	d.ids = d.ids[1:]
	list := parts
	if indirect {
		at := tablesAt + int(id)*tableSize
		for i, p := range parts {
			b := d.ram[at+16*i:]
			d.put(b, p)
			binary.LittleEndian.PutUint32(b[12:], 0)
			if p.write {
				binary.LittleEndian.PutUint16(b[14:], descWrite)
			}
		}
		list = []part{{addr: uint64(at), len: uint32(16 * len(parts))}}
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
		if indirect {
			flags |= descIndirect
		}
		at := descAt + 16*d.next
		d.put(d.ram[at:], p)
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
	d.addedSince += need
	d.chains[id] = packedChain{token, need}
	word(d.ram, descAt+16*head+12).Store(headFlags)
	return true
}

func (d *packedDriver) needsKick() bool {
	n := d.addedSince
	d.addedSince = 0
	e := word(d.ram, deviceAt).Load()
	if flags := e >> 16; flags != eventDesc {
		return flags != eventDisable
	}
	event, wrap := int(e&0x7fff), e>>15&1 != 0
	if wrap != d.nextWrap {
		event -= d.size
	}
	return uint16(d.next-event-1) < uint16(n)
}

func (d *packedDriver) hasUsed() bool {
	f := word(d.ram, descAt+16*d.last+12).Load() >> 16
	return (f&descAvail != 0) == d.lastWrap && (f&descUsed != 0) == d.lastWrap
}

func (d *packedDriver) reap() (int, uint32, bool) {
	if !d.hasUsed() {
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

func (d *packedDriver) enableInterrupts() bool {
	e := uint32(eventEnable) << 16
	if d.eventIdx {
		e = eventDesc<<16 | uint32(d.last)
		if d.lastWrap {
			e |= 1 << 15
		}
	}
	word(d.ram, driverAt).Store(e)
	return d.hasUsed()
}

func (d *packedDriver) disableInterrupts() { word(d.ram, driverAt).Store(eventDisable << 16) }
