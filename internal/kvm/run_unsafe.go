package kvm

import (
	"encoding/binary"
	"sync/atomic"
	"unsafe"
)

// RunPage is struct kvm_run: the page that a vCPU shares with the thread that runs it. Everything in it belongs to that
// thread between two runs, except immediate_exit, which any thread may set.
type RunPage struct {
	mem []byte
	h   *runHeader
}

func newRunPage(mem []byte) *RunPage {
	return &RunPage{mem: mem, h: (*runHeader)(unsafe.Pointer(&mem[0]))}
}

// immediateExitBit is kvm_run.immediate_exit, byte 1, within the first little-endian word.
const immediateExitBit = 1 << 8

// RequestExit makes the next or the current KVM_RUN return EINTR at once, if a signal accompanies it. Any thread may call it.
func (r *RunPage) RequestExit() {
	atomic.OrUint32((*uint32)(unsafe.Pointer(&r.mem[0])), immediateExitBit)
}

// ClearExit takes RequestExit back. The vCPU's thread clears first and reads what was asked of it afterwards, so that a
// request made in between is not lost.
func (r *RunPage) ClearExit() {
	atomic.AndUint32((*uint32)(unsafe.Pointer(&r.mem[0])), ^uint32(immediateExitBit))
}

// ExitRequested says that somebody has called RequestExit since the last ClearExit.
func (r *RunPage) ExitRequested() bool {
	return atomic.LoadUint32((*uint32)(unsafe.Pointer(&r.mem[0])))&immediateExitBit != 0
}

// Reason is the exit reason of the last run: Exit* constants.
func (r *RunPage) Reason() uint32 { return r.h.exitReason }

// The fields that a local APIC outside KVM works with (Documentation/virt/kvm/api.rst, "The kvm_run structure"). KVM fills in Ready,
// InterruptFlag, CR8 and APICBase with every return of KVM_RUN; it reads CR8 and the window's request at each entry. With an in-kernel
// LAPIC, in split mode, Ready and the window are those of the PIC's vectors, and CR8 is not read.

// Ready says that the vCPU can take a vector by Interrupt with the next entry.
func (r *RunPage) Ready() bool { return r.h.readyForInterruptInjection != 0 }

// InterruptFlag is the guest's RFLAGS.IF.
func (r *RunPage) InterruptFlag() bool { return r.h.ifFlag != 0 }

// RequestWindow asks KVM to return with KVM_EXIT_IRQ_WINDOW_OPEN as soon as the vCPU is ready, or not to.
func (r *RunPage) RequestWindow(on bool) {
	// Only the vCPU's thread writes this byte. Its neighbour, immediate_exit, is anybody's, and a store of one byte leaves it alone.
	r.h.requestInterruptWindow = 0
	if on {
		r.h.requestInterruptWindow = 1
	}
}

// CR8 is the task priority class; bits 3:0.
func (r *RunPage) CR8() uint8 { return uint8(r.h.cr8) }

// SetCR8 changes it.
func (r *RunPage) SetCR8(v uint8) { r.h.cr8 = uint64(v & 0xf) }

// APICBase is IA32_APIC_BASE, which KVM keeps for a vCPU without an in-kernel LAPIC and tells nobody when it changes.
func (r *RunPage) APICBase() uint64 { return r.h.apicBase }

// EOIVector is KVM_EXIT_IOAPIC_EOI's: the vector that an in-kernel LAPIC has ended, for an IOAPIC in userspace.
func (r *RunPage) EOIVector() uint8 { return r.h.union[0] }

// MSRAccess is KVM_EXIT_X86_RDMSR and WRMSR: an access that KVM has no register for or refuses.
func (r *RunPage) MSRAccess() (index uint32, value uint64) {
	u := &r.h.union
	return binary.LittleEndian.Uint32(u[12:]), binary.LittleEndian.Uint64(u[16:])
}

// CompleteMSR is the answer to it: a general-protection exception, or else success, with the value that RDMSR gives.
func (r *RunPage) CompleteMSR(value uint64, fault bool) {
	u := &r.h.union
	u[0] = 0
	if fault {
		u[0] = 1
	}
	binary.LittleEndian.PutUint64(u[16:], value)
}

// PortAccess is KVM_EXIT_IO: count accesses of size bytes each (a string instruction makes many at once).
type PortAccess struct {
	Port  uint16
	Size  uint8
	Write bool
	Count uint32
	Data  []byte // size*count bytes within the shared page; the device fills it on reads
}

// Port decodes KVM_EXIT_IO.
func (r *RunPage) Port() PortAccess {
	u := &r.h.union
	p := PortAccess{Write: u[0] == ioDirectionOut, Size: u[1], Port: binary.LittleEndian.Uint16(u[2:]), Count: binary.LittleEndian.Uint32(u[4:])}
	off := binary.LittleEndian.Uint64(u[8:])
	p.Data = r.mem[off : off+uint64(p.Size)*uint64(p.Count)]
	return p
}

// MMIOAccess is KVM_EXIT_MMIO: one access of up to eight bytes to an address that no memory slot has.
type MMIOAccess struct {
	Addr  uint64
	Write bool
	Data  []byte // within the shared page; the device fills it on reads
}

// MMIO decodes KVM_EXIT_MMIO.
func (r *RunPage) MMIO() MMIOAccess {
	u := &r.h.union
	n := min(binary.LittleEndian.Uint32(u[16:]), 8)
	return MMIOAccess{Addr: binary.LittleEndian.Uint64(u[:]), Write: u[20] != 0, Data: u[8 : 8+n]}
}

// EntryFailure is KVM_EXIT_FAIL_ENTRY's hardware reason.
func (r *RunPage) EntryFailure() uint64 { return binary.LittleEndian.Uint64(r.h.union[:]) }

// UnknownExit is KVM_EXIT_UNKNOWN's hardware exit code.
func (r *RunPage) UnknownExit() uint64 { return binary.LittleEndian.Uint64(r.h.union[:]) }

// SystemEvent is KVM_EXIT_SYSTEM_EVENT's type: SystemEvent* constants.
func (r *RunPage) SystemEvent() uint32 { return binary.LittleEndian.Uint32(r.h.union[:]) }

// InternalError is KVM_EXIT_INTERNAL_ERROR: the suberror, and, for a failed emulation where KVM recorded them, the bytes
// of the instruction.
func (r *RunPage) InternalError() (suberror uint32, insn []byte) {
	u := &r.h.union
	suberror = binary.LittleEndian.Uint32(u[:])
	ndata := binary.LittleEndian.Uint32(u[4:])
	if suberror == InternalErrorEmulation && ndata >= 3 && binary.LittleEndian.Uint64(u[8:])&emulationFailureHasInsn != 0 {
		insn = append(insn, u[17:17+min(u[16], 15)]...)
	}
	return suberror, insn
}
