package tinyguest

import (
	"encoding/binary"
	"errors"
	"math"

	"doorbell/guest"
	"doorbell/internal/kvm"
	"doorbell/vcpu"
)

// IPI is a guest whose first vCPU sends IPIs of Vector, one after the other: each when all targets have ended the one before. The other vCPUs take them, or
// the first its own.
type IPI struct {
	To     Destination
	By     Sending
	Others int    // vCPUs beside the first: 1 or 2
	Halts  bool   // the other vCPUs halt between them; otherwise they run on the spot
	Count  uint32 // how many
	Vendor kvm.Vendor
}

// Destination is whom an IPI is for.
type Destination int

// Destinations: by a shorthand, or by the second vCPU's APIC id.
const (
	ToSelf Destination = iota
	ToOther
	ToAllButSelf
)

// Sending is the way by which an IPI leaves.
type Sending int

// By the local APIC's ICR, in either of its modes, or by KVM's hypercall KVM_HC_SEND_IPI (Documentation/virt/kvm/x86/hypercalls.rst).
const (
	ByXAPIC Sending = iota
	ByX2APIC
	ByHypercall
)

// In the page Data, beside the other guests' words: go, IPIs sent, and for each vCPU those begun and ended.
const (
	goAt   = Data + 0x80
	sentAt = Data + 0x88
)

func countsAt(cpu int) uint32 { return Data + 0x90 + 16*uint32(cpu) }

// The other vCPUs' stacks.
const secondStack, thirdStack = 0xf000, 0x12000

// NewIPI makes such a guest. Its vCPUs run when Run is called on each; no IPI is sent before Go.
func NewIPI(sys *kvm.System, i IPI) (*Guest, error) {
	code, others, handler := i.code()
	g, err := build(sys, code, nobody{}, "")
	if err != nil {
		return nil, err
	}
	err = errors.Join(g.fillInterrupted(), g.gate(Vector, handler))
	if err == nil {
		g.Second, err = g.add(sys, 1, 1+i.Others, others[0], secondStack)
	}
	if err == nil && i.Others > 1 {
		g.Third, err = g.add(sys, 2, 1+i.Others, others[1], thirdStack)
	}
	if err != nil {
		g.Close()
		return nil, err
	}
	return g, nil
}

// add makes another vCPU of all, which runs as the first does and from its own place: nobody sends it INIT and SIPI.
func (g *Guest) add(sys *kvm.System, id, all int, rip uint32, stack uint64) (*vcpu.CPU, error) {
	cpuid, err := sys.SupportedCPUID()
	if err != nil {
		return nil, err
	}
	entry := guest.NewEntry(uint64(rip))
	entry.CR3, entry.RSP = pml4, stack
	return vcpu.New(vcpu.Config{VM: g.VM, ID: id, Bus: nobody{}, Ledger: g.Ledger, Memory: g.Memory, Setup: func(k *kvm.VCPU) error {
		return errors.Join(k.SetCPUID(vcpu.CPUID(cpuid, vcpu.Topology{VCPUs: all, X2APIC: true}, uint32(id))), vcpu.Enter(k, entry), k.SetMPState(kvm.MPStateRunnable))
	}})
}

// counts has r15 point at a vCPU's counts.
func (a *assembler) counts(cpu int) {
	a.put(0x41, 0xbf) // mov r15d, countsAt
	a.imm(countsAt(cpu))
}

// targets are the vCPUs that take an IPI.
func (i IPI) targets() []int {
	switch {
	case i.To == ToSelf:
		return []int{0}
	case i.To == ToAllButSelf && i.Others > 1:
		return []int{1, 2}
	}
	return []int{1}
}

// code is the program of the first vCPU, and where those of the others and the handler are.
func (i IPI) code() (a assembler, others []uint32, handler uint32) {
	x2apic := i.By != ByXAPIC
	a.enable(x2apic)
	a.counts(0)
	a.put(0xfb) // sti
	// Wait for go.
	a.put(0x48, 0x83, 0x3c, 0x25) // cmp qword [goAt], 0
	a.imm(goAt)
	a.put(0, 0x74, 0xf5) // ... 0; je to the comparison
	loop := len(a)
	a.inc(sentAt)
	i.send(&a)
	a.at(sentAt, 0x48, 0x8b, 0x04) // mov rax, [sentAt]
	for _, target := range i.targets() {
		a.at(countsAt(target)+8, 0x48, 0x39, 0x04) // cmp [ended], rax
		a.put(0x72, 0xf6)                          // jb to the comparison
	}
	if i.To != ToSelf {
		// The other vCPUs have to come back from their handlers, and to halt.
		a.put(0xb9) // mov ecx, pauses
		a.imm(pauses)
		a.put(0xff, 0xc9, 0x75, 0xfc) // dec ecx; jnz to it
	}
	a.put(0x48, 0x3d) // cmp rax, count
	a.imm(i.Count)
	a.put(0x0f, 0x82) // jb to the next one
	a.imm(uint32(int32(loop - len(a) - 4)))
	a.put(0xf4, 0xeb, 0xfd) // hlt; jmp to it
	for n := range i.Others {
		others = append(others, Code+uint32(len(a)))
		a.enable(x2apic)
		a.counts(n + 1)
		a.put(0xfb) // sti
		if i.Halts {
			a.put(0xf4, 0xeb, 0xfd) // hlt; jmp to it
		} else {
			a.put(0xeb, 0xfe) // jmp self
		}
	}
	handler = Code + uint32(len(a))
	a.put(0x50, 0x51, 0x52)       // push rax, rcx, rdx
	a.put(0x49, 0xff, 0x07)       // inc qword [r15]
	a.eoi(x2apic)                 //
	a.put(0x49, 0xff, 0x47, 0x08) // inc qword [r15+8]
	a.put(0x5a, 0x59, 0x58)       // pop rdx, rcx, rax
	a.put(0x48, 0xcf)             // iretq
	return a, others, handler
}

// pauses is how many turns the sender waits between two IPIs.
const pauses = 50_000

// send sends one IPI: fixed, edge (Intel SDM volume 3, 11.6.1).
func (i IPI) send(a *assembler) {
	const (
		assert, self, allButSelf = 1 << 14, 1 << 18, 3 << 18
		icrLow, icrHigh          = 0x300, 0x310
		icrMSR                   = 0x830
		sendIPI                  = 10 // KVM_HC_SEND_IPI
	)
	low, dest := uint32(Vector|assert), uint32(0)
	switch i.To {
	case ToSelf:
		low |= self
	case ToAllButSelf:
		low |= allButSelf
	case ToOther:
		dest = 1
	}
	switch i.By {
	case ByXAPIC:
		a.put(0xc7, 0x83) // mov dword [rbx+icrHigh], dest
		a.imm(icrHigh)
		a.imm(dest << 24)
		a.put(0xc7, 0x83) // mov dword [rbx+icrLow], low
		a.imm(icrLow)
		a.imm(low)
	case ByX2APIC:
		a.put(0xb9) // mov ecx, icrMSR
		a.imm(icrMSR)
		a.put(0xb8) // mov eax, low
		a.imm(low)
		a.put(0xba) // mov edx, dest
		a.imm(dest)
		a.put(0x0f, 0x30) // wrmsr
	case ByHypercall:
		a.put(0xb8) // mov eax, sendIPI
		a.imm(sendIPI)
		bits := uint32(0)
		for _, target := range i.targets() {
			bits |= 1 << target
		}
		a.put(0xbb) // mov ebx, the first vCPUs: a bit for each from edx on
		a.imm(bits)
		a.put(0x31, 0xc9, 0x31, 0xd2) // xor ecx, ecx; xor edx, edx
		a.put(0xbe)                   // mov esi, the ICR's low half without a shorthand
		a.imm(Vector)
		if i.Vendor == kvm.VendorSVM {
			a.put(0x0f, 0x01, 0xd9) // vmmcall
		} else {
			a.put(0x0f, 0x01, 0xc1) // vmcall
		}
		a.put(0xbb) // mov ebx, apicBase
		a.imm(apicBase)
	}
}

// Go lets the first vCPU begin.
func (g *Guest) Go() {
	_ = g.Memory.WriteAt(binary.LittleEndian.AppendUint64(nil, 1), goAt) // the page is the guest's own: it is there
}

// IPIs are how many have been sent, and how many all of some vCPUs have ended.
func (g *Guest) IPIs(cpus ...int) (sent, ended uint64) {
	ended = math.MaxUint64
	for _, c := range cpus {
		ended = min(ended, g.word(uint64(countsAt(c))+8))
	}
	return g.word(sentAt), ended
}
