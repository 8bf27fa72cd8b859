package ledger

import (
	"testing"

	"doorbell/internal/kvm"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func uartNames(off uint64, write bool) string {
	if off == 0 && write {
		return "THR"
	}
	return [...]string{"RBR", "IER", "IIR", "LCR", "MCR", "LSR", "MSR", "SCR"}[off]
}

func TestAccessesAreSummedOverVCPUs(t *testing.T) {
	l := New(2)
	id := l.AddDevice("com1", Port, 8, 1, uartNames)
	for range 3 {
		l.Access(0, id, 0, true, 1)
	}
	l.Access(1, id, 0, true, 1)
	l.Access(1, id, 5, false, 1)
	l.Stray(0, Port, 0x80, true, 1)
	l.Stray(1, Memory, 0xfed00000, false, 4)
	want := []AccessRow{
		{"com1", "THR", "write", 1, 4},
		{"com1", "LSR", "read", 1, 1},
		{Unclaimed, "mmio 0xfed00000", "read", 4, 1},
		{Unclaimed, "port 0x80", "write", 1, 1},
	}
	if d := cmp.Diff(want, l.Accesses()); d != "" {
		t.Error(d)
	}
}

// TestNothingIsLost: whatever a guest touches, the rows sum to the accesses, and their number stays bounded.
func TestNothingIsLost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := New(2)
		id := l.AddDevice("d", Memory, 0x1000, 0x100, func(uint64, bool) string { return "r" })
		n := rapid.IntRange(0, 500).Draw(t, "accesses")
		for range n {
			v, write := rapid.IntRange(0, 1).Draw(t, "vcpu"), rapid.Bool().Draw(t, "write")
			width := rapid.IntRange(0, 9).Draw(t, "width")
			addr := rapid.Uint64().Draw(t, "addr")
			if rapid.Bool().Draw(t, "device") {
				l.Access(v, id, addr, write, width)
			} else {
				l.Stray(v, Space(addr&1), addr>>1, write, width)
			}
		}
		var sum uint64
		rows := l.Accesses()
		for _, r := range rows {
			sum += r.Count
		}
		if sum != uint64(n) {
			t.Fatalf("rows sum to %d, %d accesses were made", sum, n)
		}
		if len(rows) > 2*maxStrays+1+2*widths {
			t.Fatalf("%d rows", len(rows))
		}
	})
}

func TestExitsByReason(t *testing.T) {
	l := New(1)
	v := l.VCPU(0)
	v.Exit(kvm.ExitIo)
	v.Exit(kvm.ExitIo)
	v.Exit(1 << 31)
	v.Kick()
	if d := cmp.Diff(map[string]uint64{"io": 2, "unlisted": 1}, v.ExitsByReason()); d != "" {
		t.Error(d)
	}
	if v.UserspaceExits() != 3 || v.Kicks() != 1 {
		t.Errorf("exits %d, kicks %d", v.UserspaceExits(), v.Kicks())
	}
}

// The hot paths neither allocate nor lock.
func TestNoAllocation(t *testing.T) {
	l := New(1)
	id := l.AddDevice("com1", Port, 8, 1, uartNames)
	line := l.AddLine("com1", 4)
	v := l.VCPU(0)
	addr := uint64(0)
	if n := testing.AllocsPerRun(1000, func() {
		addr += 4097
		v.Exit(kvm.ExitIo)
		l.Access(0, id, addr%8, true, 1)
		l.Stray(0, Port, addr, false, 2)
		line.Raise()
	}); n != 0 {
		t.Errorf("%v allocations per exit", n)
	}
}

// TestNone: no ledger counts nothing, and takes everything that a vCPU and a bus count.
func TestNone(t *testing.T) {
	var l *Ledger
	id := l.AddDevice("com1", Port, 8, 1, uartNames)
	v := l.VCPU(3)
	if id != 0 || v != nil {
		t.Errorf("device %d, vCPU %v", id, v)
	}
	l.Access(3, id, 5, false, 1)
	l.Stray(3, Port, 0x80, true, 1)
	v.Exit(kvm.ExitIo)
	v.NMI(true)
	for _, count := range []func(){v.Kick, v.Window, v.Injected, v.KickAsked, v.KickSignalled, v.KickWoken} {
		count()
	}
}

func BenchmarkExit(b *testing.B) {
	l := New(1)
	id := l.AddDevice("com1", Port, 8, 1, uartNames)
	b.ReportAllocs()
	for b.Loop() {
		l.VCPU(0).Exit(kvm.ExitIo)
		l.Access(0, id, 5, false, 1)
	}
}
