package vcpu

import (
	"testing"

	"doorbell/internal/kvm"
)

// host is a table as KVM_GET_SUPPORTED_CPUID gives it on a machine with 16 threads: its topology must not shine through.
func host() []kvm.CPUIDEntry {
	return []kvm.CPUIDEntry{
		{Function: 0x1, EBX: 0x0f100800, ECX: 1<<3 | 1<<13, EDX: 1<<28 | 1<<9},
		{Function: 0x4, Index: 3, Flags: kvm.CPUIDSignificantIndex, EAX: 0x3c03c163},
		{Function: 0x4, Index: 0, Flags: kvm.CPUIDSignificantIndex, EAX: 0x3c004121},
		{Function: 0xb, Index: 0, Flags: kvm.CPUIDSignificantIndex, EAX: 1, EBX: 2, ECX: 0x100, EDX: 15},
		{Function: 0xb, Index: 1, Flags: kvm.CPUIDSignificantIndex, EAX: 4, EBX: 16, ECX: 0x201, EDX: 15},
		{Function: 0x40000001, EAX: 0x1000_7efb},
		{Function: 0x80000008, EAX: 0x3030, ECX: 0x400f},
		{Function: 0x8000001e, EAX: 15, EBX: 0x107, ECX: 0x300},
	}
}

func leaf(t *testing.T, table []kvm.CPUIDEntry, function, index uint32) kvm.CPUIDEntry {
	t.Helper()
	for _, e := range table {
		if e.Function == function && e.Index == index {
			return e
		}
	}
	t.Fatalf("no leaf %#x.%d", function, index)
	panic("unreachable")
}

func TestCPUIDTopology(t *testing.T) {
	for _, n := range []int{1, 2, 3, 4, 8, 300} {
		for _, id := range []uint32{0, uint32(n - 1)} {
			table := CPUID(host(), Topology{VCPUs: n}, id)
			f := leaf(t, table, 1, 0)
			if f.EBX>>24 != id&0xff {
				t.Errorf("%d vCPUs, id %d: initial APIC id %d", n, id, f.EBX>>24)
			}
			if got, want := f.EBX>>16&0xff, uint32(min(n, 255)); got != want {
				t.Errorf("%d vCPUs: %d logical processors", n, got)
			}
			if (f.EDX>>28&1 == 1) != (n > 1) {
				t.Errorf("%d vCPUs: HTT is %d", n, f.EDX>>28&1)
			}
			if core := leaf(t, table, 0xb, 1); core.EBX != uint32(n) || core.EDX != id || 1<<core.EAX < n {
				t.Errorf("%d vCPUs, id %d: core level %+v", n, id, core)
			}
			if smt := leaf(t, table, 0xb, 0); smt.EAX != 0 || smt.EBX != 1 || smt.ECX != 0x100 {
				t.Errorf("thread level %+v", smt)
			}
			if l3 := leaf(t, table, 4, 3).EAX >> 14 & 0xfff; l3+1 < uint32(n) {
				t.Errorf("%d vCPUs: the last-level cache is shared by %d", n, l3+1)
			}
			if l1 := leaf(t, table, 4, 0).EAX >> 14 & 0xfff; l1 != 0 {
				t.Errorf("a core's cache is shared by %d", l1+1)
			}
			if a := leaf(t, table, 0x80000008, 0); int(a.ECX&0xff) != min(n-1, 255) {
				t.Errorf("%d vCPUs: AMD says %d", n, a.ECX&0xff+1)
			}
			if a := leaf(t, table, 0x8000001e, 0); a.EAX != id {
				t.Errorf("id %d: AMD says %d", id, a.EAX)
			}
		}
	}
}

func TestCPUIDFeatures(t *testing.T) {
	supported := host()
	with := leaf(t, CPUID(supported, Topology{VCPUs: 1, TSCDeadline: true, X2APIC: true}, 0), 1, 0)
	without := leaf(t, CPUID(supported, Topology{VCPUs: 1}, 0), 1, 0)
	if with.ECX>>24&1 != 1 || without.ECX>>24&1 != 0 {
		t.Error("the TSC-deadline bit does not follow the capability")
	}
	if with.ECX>>21&1 != 1 || without.ECX>>21&1 != 0 {
		t.Error("the x2APIC bit does not follow the local APIC")
	}
	if without.ECX>>31 != 1 || without.ECX>>3&1 != 0 || without.ECX>>13&1 != 1 {
		t.Errorf("ECX %#x: want hypervisor, no MONITOR, and what the host has", without.ECX)
	}
	if supported[0] != host()[0] {
		t.Error("the host's table was changed")
	}
}

// TestCPUIDParavirtual: a guest is not offered what KVM does with its own local APICs only, where the local APICs are not KVM's.
func TestCPUIDParavirtual(t *testing.T) {
	const leafKVM, needsLAPIC = 0x40000001, 1<<4 | 1<<6 | 1<<7 | 1<<11 | 1<<13 | 1<<14
	offered := leaf(t, host(), leafKVM, 0).EAX
	if got := leaf(t, CPUID(host(), Topology{VCPUs: 1}, 0), leafKVM, 0).EAX; got != offered {
		t.Errorf("%#x, want %#x", got, offered)
	}
	if got, want := leaf(t, CPUID(host(), Topology{VCPUs: 1, UserLAPIC: true}, 0), leafKVM, 0).EAX, offered&^needsLAPIC; got != want || got == offered {
		t.Errorf("%#x, want %#x", got, want)
	}
}
