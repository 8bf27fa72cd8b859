package vcpu

import (
	"slices"

	"doorbell/internal/kvm"
)

// Topology is what CPUID tells a guest about its processors: one package of single-threaded cores.
type Topology struct {
	VCPUs       int
	TSCDeadline bool // the local APIC's timer has the TSC-deadline mode
	X2APIC      bool // the local APIC has the x2APIC mode
	UserLAPIC   bool // the local APIC is not KVM's
}

// CPUID leaves and the bits that are set per machine or per vCPU (Intel SDM volume 2, CPUID; AMD APM volume 3, appendix E).
const (
	leafFeatures  = 0x1
	leafCache     = 0x4
	leafTopology  = 0xb
	leafTopology2 = 0x1f
	leafAMDSizes  = 0x80000008
	leafAMDCache  = 0x8000001d
	leafAMDNode   = 0x8000001e

	ecxMonitor     = 1 << 3
	ecxX2APIC      = 1 << 21
	ecxTSCDeadline = 1 << 24
	ecxHypervisor  = 1 << 31

	// What KVM offers a guest and does with its own local APICs only (Documentation/virt/kvm/x86/cpuid.rst): asynchronous page faults (bits 4
	// and 14), an EOI without an exit (6), halted vCPUs kicked by a hypercall (7), IPIs by one (11), yielding to an IPI's target (13).
	leafKVMFeatures = 0x40000001
	kvmNeedsLAPIC   = 1<<4 | 1<<6 | 1<<7 | 1<<11 | 1<<13 | 1<<14

	edxHTT = 1 << 28

	levelSMT  = 1 << 8 // leaf 0xb, ECX[15:8]: the kind of a topology level
	levelCore = 2 << 8
)

// CPUID is the table for the vCPU with this APIC id: what the host supports, with the identity and the topology put in.
// The host's own topology must not shine through: a guest that believes it brings up the wrong number of processors.
func CPUID(supported []kvm.CPUIDEntry, t Topology, id uint32) []kvm.CPUIDEntry {
	n := uint32(max(t.VCPUs, 1))
	bits := idBits(n)
	table := slices.Clone(supported)
	for i := range table {
		e := &table[i]
		switch e.Function {
		case leafFeatures:
			e.EBX = e.EBX&0xffff | min(n, 255)<<16 | id<<24
			e.ECX = e.ECX&^(ecxMonitor|ecxTSCDeadline|ecxX2APIC) | ecxHypervisor
			if t.X2APIC {
				e.ECX |= ecxX2APIC
			}
			if t.TSCDeadline {
				e.ECX |= ecxTSCDeadline
			}
			e.EDX &^= edxHTT
			if n > 1 {
				e.EDX |= edxHTT
			}
		case leafKVMFeatures:
			if t.UserLAPIC {
				e.EAX &^= kvmNeedsLAPIC
			}
		case leafCache, leafAMDCache:
			if e.EAX&0x1f == 0 {
				continue
			}
			// EAX[25:14] is the number of ids that share the cache, less one; level 3 is the package's, the others a core's.
			e.EAX &^= 0xfff << 14
			if e.EAX>>5&7 >= 3 {
				e.EAX |= (1<<bits - 1) & 0xfff << 14
			}
			if e.Function == leafCache {
				// EAX[31:26]: the number of core ids in the package, less one.
				e.EAX = e.EAX&^(0x3f<<26) | min(uint32(1)<<bits-1, 0x3f)<<26
			}
		case leafAMDSizes:
			// ECX[7:0]: threads in the package, less one; ECX[15:12]: bits of the APIC id that number them.
			e.ECX = e.ECX&^0xf0ff | min(n-1, 255) | bits<<12
		case leafAMDNode:
			e.EAX, e.EBX, e.ECX = id, id&0xff, 0
		}
	}
	for _, leaf := range []uint32{leafTopology, leafTopology2} {
		table = setTopologyLeaf(table, leaf, n, bits, id)
	}
	return table
}

// setTopologyLeaf replaces an extended topology leaf, if the host has it, by two levels: threads of a core, cores of the
// package. EAX is the number of id bits below the next level, EBX the processors at this one, EDX the x2APIC id.
func setTopologyLeaf(table []kvm.CPUIDEntry, leaf, n, bits, id uint32) []kvm.CPUIDEntry {
	had := len(table)
	table = slices.DeleteFunc(table, func(e kvm.CPUIDEntry) bool { return e.Function == leaf })
	if len(table) == had {
		return table
	}
	return append(table,
		kvm.CPUIDEntry{Function: leaf, Index: 0, Flags: kvm.CPUIDSignificantIndex, EAX: 0, EBX: 1, ECX: 0 | levelSMT, EDX: id},
		kvm.CPUIDEntry{Function: leaf, Index: 1, Flags: kvm.CPUIDSignificantIndex, EAX: bits, EBX: n, ECX: 1 | levelCore, EDX: id},
		kvm.CPUIDEntry{Function: leaf, Index: 2, Flags: kvm.CPUIDSignificantIndex, ECX: 2, EDX: id})
}

// idBits is the number of bits that number n processors.
func idBits(n uint32) (b uint32) {
	for 1<<b < n {
		b++
	}
	return b
}
