package vmm

import (
	"fmt"
	"testing"

	"doorbell/internal/ledger"

	"pgregory.net/rapid"
)

// memo is a device that remembers what was written to each of its bytes.
type memo struct{ b []byte }

func (m *memo) Read(off uint64, p []byte)                  { copy(p, m.b[off:]) }
func (m *memo) Write(off uint64, p []byte)                 { copy(m.b[off:], p) }
func (m *memo) RegisterName(off uint64, write bool) string { return fmt.Sprint(off) }

// TestBusAgainstModel drives the bus beside a plain array of bytes: claimed bytes hold what was written, all others float.
func TestBusAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBus(ledger.New(1))
		model := map[uint64]byte{}
		for i := range rapid.IntRange(0, 5).Draw(t, "devices") {
			base, size := rapid.Uint64Range(0, 60).Draw(t, "base"), rapid.Uint64Range(1, 12).Draw(t, "size")
			free := true
			for a := base; a < base+size; a++ {
				_, taken := model[a]
				free = free && !taken
			}
			err := b.add(fmt.Sprint("d", i), ledger.Memory, base, size, 1, &memo{make([]byte, size)})
			if (err == nil) != free {
				t.Fatalf("add %d+%d: %v, free %v", base, size, err, free)
			}
			for a := base; a < base+size && free; a++ {
				model[a] = 0
			}
		}
		for range 50 {
			addr, n := rapid.Uint64Range(0, 80).Draw(t, "addr"), rapid.SampledFrom([]int{1, 2, 4, 8}).Draw(t, "n")
			p := make([]byte, n)
			first, claimed := b.memory.find(addr), func(a uint64) bool {
				r := b.memory.find(addr)
				return r != nil && a-r.base < r.size
			}
			if rapid.Bool().Draw(t, "write") {
				for i := range p {
					p[i] = byte(rapid.IntRange(0, 254).Draw(t, "v"))
					if claimed(addr + uint64(i)) {
						model[addr+uint64(i)] = p[i]
					}
				}
				b.Memory(0, addr, true, p)
				continue
			}
			b.Memory(0, addr, false, p)
			for i, got := range p {
				want := byte(0xff)
				if first != nil && claimed(addr+uint64(i)) {
					want = model[addr+uint64(i)]
				}
				if got != want {
					t.Fatalf("byte %d of a read at %d is %#x, want %#x", i, addr, got, want)
				}
			}
		}
	})
}

// A string instruction is one exit with many accesses to one port.
func TestStringInstruction(t *testing.T) {
	l := ledger.New(1)
	b := newBus(l)
	m := &memo{make([]byte, 8)}
	if err := b.add("m", ledger.Port, 0x3f8, 8, 1, m); err != nil {
		t.Fatal(err)
	}
	b.Port(0, 0x3f9, 1, true, []byte("hello"))
	if m.b[1] != 'o' {
		t.Errorf("the last byte of the string is %q", m.b[1])
	}
	p := make([]byte, 3)
	b.Port(0, 0x3f9, 1, false, p)
	if string(p) != "ooo" {
		t.Errorf("rep insb read %q, want every byte filled", p)
	}
	if rows := l.Accesses(); len(rows) != 2 || rows[0].Count != 1 {
		t.Errorf("rows %v, want one exit each", rows)
	}
}

func TestBusAllocatesNothing(t *testing.T) {
	b := newBus(ledger.New(1))
	if err := b.add("m", ledger.Port, 0x3f8, 8, 1, &memo{make([]byte, 8)}); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 1)
	if n := testing.AllocsPerRun(1000, func() {
		b.Port(0, 0x3fd, 1, false, p)
		b.Port(0, 0x80, 1, true, p)
		b.Memory(0, 0xfed00000, false, p)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkPortExit(b *testing.B) {
	bus := newBus(ledger.New(1))
	for i := range 8 {
		if err := bus.add(fmt.Sprint(i), ledger.Port, uint64(i*0x100), 8, 1, &memo{make([]byte, 8)}); err != nil {
			b.Fatal(err)
		}
	}
	p := make([]byte, 1)
	b.ReportAllocs()
	for b.Loop() {
		bus.Port(0, 0x305, 1, false, p)
	}
}

// TestMovedRegion: a BAR that a guest moves answers at its new place only, and its accesses are counted as one device's.
func TestMovedRegion(t *testing.T) {
	l := ledger.New(1)
	b := newBus(l)
	if err := b.add("fixed", ledger.Memory, 0x3000, 0x1000, 4, &memo{make([]byte, 0x1000)}); err != nil {
		t.Fatal(err)
	}
	r := b.register("card", ledger.Memory, 0x1000, 4, &memo{make([]byte, 0x1000)})
	at := func(addr uint64) bool {
		p := make([]byte, 4)
		b.Memory(0, addr, false, p)
		return p[0] != 0xff
	}
	if at(0x1000) {
		t.Error("it answers before it is placed")
	}
	for _, base := range []uint64{0x1000, 0x2000, 0x4000} {
		if err := b.place(ledger.Memory, base, r); err != nil {
			t.Fatal(err)
		}
		if !at(base) || !at(base+0xffc) {
			t.Errorf("it does not answer at %#x", base)
		}
		if err := b.place(ledger.Memory, base+0x800, r); err == nil {
			t.Errorf("a second device fits over %#x", base)
		}
		b.remove(ledger.Memory, base)
		if at(base) {
			t.Errorf("it still answers at %#x", base)
		}
	}
	if err := b.place(ledger.Memory, 0x2800, r); err == nil {
		t.Error("it was placed over another device")
	}
	if !at(0x3000) {
		t.Error("the other device has gone")
	}
	n := uint64(0)
	for _, row := range l.Accesses() {
		if row.Device == "card" {
			n += row.Count
		}
	}
	if n != 6 {
		t.Errorf("%d accesses of the moved device, want 6", n)
	}
}
