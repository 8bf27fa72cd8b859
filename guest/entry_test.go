package guest

import (
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// translate walks the page tables as the processor does (Intel SDM volume 3,
// "4-Level Paging"), for the page sizes that they use.
func translate(t *testing.T, mem interface {
	ReadAt(p []byte, gpa uint64) error
}, cr3, va uint64) (uint64, bool) {
	t.Helper()
	table := cr3
	for _, shift := range []uint{39, 30, 21} {
		var b [8]byte
		if err := mem.ReadAt(b[:], table+va>>shift&511*8); err != nil {
			t.Fatal(err)
		}
		e := binary.LittleEndian.Uint64(b[:])
		if e&1 == 0 || e&2 == 0 {
			return 0, false
		}
		table = e &^ 0xfff
		if e&0x80 != 0 {
			if shift != 21 {
				t.Fatalf("a page of 2^%d bytes", shift)
			}
			return table + va&(1<<21-1), true
		}
	}
	t.Fatal("walk did not end at a page directory")
	return 0, false
}

func TestIdentityMapping(t *testing.T) {
	m := newMemory(t, 1<<20)
	before, _ := m.Bytes(pageTablesStart, pageTablesEnd-pageTablesStart)
	for i := range before {
		before[i] = 0xff
	}
	if err := writePageTables(m); err != nil {
		t.Fatal(err)
	}
	for va := uint64(0); va < 4<<30; va += 1<<21 - 4096 {
		if pa, ok := translate(t, m, pageTablesStart, va); !ok || pa != va {
			t.Fatalf("%#x maps to %#x, %v", va, pa, ok)
		}
	}
	for _, va := range []uint64{4 << 30, 1 << 39, 1<<47 - 1, 0xffff_ffff_8000_0000} {
		if pa, ok := translate(t, m, pageTablesStart, va); ok {
			t.Errorf("%#x maps to %#x", va, pa)
		}
	}
}

func TestEntryState(t *testing.T) {
	e := NewEntry(0x1000000)
	want := Entry{
		RIP: 0x1000000, RSI: 0x7000, RSP: 0x9000, RFLAGS: 2,
		CR0: 0x80000031, CR3: 0x9000, CR4: 0x20, EFER: 0x500,
		GDTBase: 0x500, GDTLimit: 0x1f,
		CS: Segment{Selector: 0x10, Limit: 0xffffffff, Type: 0xb, S: 1, P: 1, L: 1, G: 1},
		DS: Segment{Selector: 0x18, Limit: 0xffffffff, Type: 0x3, S: 1, P: 1, DB: 1, G: 1},
	}
	if d := cmp.Diff(want, e); d != "" {
		t.Errorf("entry state (-want +got):\n%s", d)
	}
	if d := cmp.Diff(make([]byte, 16), gdtBytes()[:16]); d != "" {
		t.Errorf("the GDT's first descriptors are in use:\n%s", d)
	}
}
