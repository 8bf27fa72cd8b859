package virtio

import (
	"errors"
	"testing"

	"doorbell/guest/memory"
)

// Where the fuzz targets put a ring of 8 entries: the bytes of the input cover all of it, and indirect tables behind it.
const (
	fuzzSize   = 8
	fuzzDesc   = 0x000 // to 0x080
	fuzzDriver = 0x080 // to 0x096
	fuzzDevice = 0x0a0 // to 0x0e6
	fuzzTable  = 0x100
	fuzzChunk  = 0x200
)

// exercise uses a queue whose memory is anything: what can be popped is looked at and pushed. In each round the next piece of the input
// overwrites memory.
func exercise(t *testing.T, k ringKind, at int, input []byte) {
	m, err := memory.NewHeap(64 << 10)
	if err != nil {
		t.Fatal(err)
	}
	ram, _ := m.Bytes(0, m.Size())
	port := &testPort{tb: t, interrupts: testEventFD(t)}
	c := ringConfig{memory: m, size: fuzzSize, desc: fuzzDesc, driver: fuzzDriver, device: fuzzDevice, eventIdx: k.eventIdx, indirect: true}
	q, err := newQueue(0, c, k.packed, port, port.interrupts, new(QueueStats))
	if err != nil {
		t.Fatal(err)
	}
	if at == fuzzTable {
		referToTable(ram, k.packed)
	}
	for round := uint32(0); round < 8 && (round == 0 || len(input) > 0); round++ {
		n := copy(ram[at:at+fuzzChunk], input)
		input = input[n:]
		held, err := popAll(t, q, ram)
		if err != nil {
			if len(port.errs) != 1 || port.errs[0] != err {
				t.Fatalf("%v was reported as %v", err, port.errs)
			}
			return
		}
		for i, c := range held {
			q.Push(c, uint32(i)*round)
			if i%3 == 0 {
				q.Publish()
				q.NeedsInterrupt()
			}
		}
		q.Publish()
		q.Notify()
		q.EnableKicks()
		q.DisableKicks()
	}
}

// referToTable makes one buffer available whose indirect table is at fuzzTable and as long as the queue allows.
func referToTable(ram []byte, packed bool) {
	if packed {
		desc16(ram[fuzzDesc:], fuzzTable, fuzzSize*descSize, 5, descIndirect|descAvail)
		return
	}
	desc16(ram[fuzzDesc:], fuzzTable, fuzzSize*descSize, descIndirect, 0)
	ram[fuzzDriver+2] = 1
}

// popAll pops until there is nothing, and checks what every device relies on.
func popAll(t *testing.T, q *Queue, ram []byte) (held []*Chain, err error) {
	for {
		c := q.NewChain()
		ok, err := q.Pop(c)
		if err != nil {
			if ok || !errors.As(err, new(*QueueError)) {
				t.Fatalf("pop: %v, %v", ok, err)
			}
			return nil, err
		}
		if !ok {
			return held, nil
		}
		if held = append(held, c); len(held) > q.Size() {
			t.Fatalf("%d chains are out of a queue of %d", len(held), q.Size())
		}
		if n := len(c.segments); n == 0 || n > q.Size() {
			t.Fatalf("a chain of %d segments", n)
		}
		var sum uint64
		for _, s := range c.segments {
			if off := uint64(addressOf(s) - addressOf(ram)); len(s) == 0 || off+uint64(len(s)) > uint64(len(ram)) {
				t.Fatalf("a segment of %d bytes at %#x", len(s), off)
			}
			sum += uint64(len(s))
		}
		if sum != c.ReadableLen()+c.WritableLen() {
			t.Fatalf("lengths %d and %d of %d bytes", c.ReadableLen(), c.WritableLen(), sum)
		}
	}
}

func bothEvents(t *testing.T, packed bool, at int, input []byte) {
	for _, eventIdx := range []bool{false, true} {
		exercise(t, ringKind{packed: packed, eventIdx: eventIdx}, at, input)
	}
}

func ones(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = 0xff
	}
	return b
}

func FuzzSplitRing(f *testing.F) {
	good := make([]byte, fuzzChunk)
	desc16(good[fuzzDesc:], 0x1000, 64, descNext, 1)
	desc16(good[fuzzDesc+16:], 0x2000, 128, descWrite, 0)
	desc16(good[fuzzDesc+32:], fuzzTable, 16, descIndirect, 0)
	desc16(good[fuzzTable:], 0x3000, 8, descWrite, 0)
	good[fuzzDriver+2], good[fuzzDriver+6] = 2, 2
	more := append([]byte(nil), good...)
	more[fuzzDriver+2], more[fuzzDriver+8], more[fuzzDriver+10] = 4, 2, 0
	f.Add(good)
	f.Add(append(good, more...))
	f.Add([]byte{})
	f.Add(ones(fuzzChunk))
	loop := append([]byte(nil), good...)
	desc16(loop[fuzzDesc+16:], 0x2000, 1, descNext, 0)
	f.Add(loop)
	f.Fuzz(func(t *testing.T, input []byte) { bothEvents(t, false, 0, input) })
}

func FuzzPackedRing(f *testing.F) {
	good := make([]byte, fuzzChunk)
	desc16(good[fuzzDesc:], 0x1000, 64, 1, descNext|descAvail)
	desc16(good[fuzzDesc+16:], 0x2000, 128, 1, descWrite|descAvail)
	desc16(good[fuzzDesc+32:], fuzzTable, 16, 2, descIndirect|descAvail)
	desc16(good[fuzzTable:], 0x3000, 8, 0, descWrite)
	good[fuzzDriver], good[fuzzDriver+1], good[fuzzDriver+2] = 1, 0x80, eventDesc
	// The second lap, with the wrap counter down.
	lap := append([]byte(nil), good...)
	for i := range fuzzSize {
		desc16(lap[fuzzDesc+16*i:], 0x1000, 64, uint16(i), descUsed)
	}
	full := append([]byte(nil), good...)
	for i := range fuzzSize {
		desc16(full[fuzzDesc+16*i:], 0x1000, 64, uint16(i), descAvail)
	}
	f.Add(good)
	f.Add(append(full, lap...))
	f.Add([]byte{})
	f.Add(ones(fuzzChunk))
	f.Fuzz(func(t *testing.T, input []byte) { bothEvents(t, true, 0, input) })
}

func FuzzIndirectTable(f *testing.F) {
	good := make([]byte, fuzzSize*descSize)
	for i := range fuzzSize {
		desc16(good[16*i:], uint64(0x1000*(i+1)), 16, descNext, uint16(i+1))
	}
	desc16(good[16*7:], 0x1000, 16, descWrite, 0)
	f.Add(good, false)
	f.Add(good, true)
	f.Add(ones(128), false)
	f.Add([]byte{}, true)
	nested := append([]byte(nil), good...)
	desc16(nested[16:], fuzzTable, 16, descIndirect, 0)
	f.Add(nested, false)
	f.Fuzz(func(t *testing.T, table []byte, packed bool) { bothEvents(t, packed, fuzzTable, table) })
}
