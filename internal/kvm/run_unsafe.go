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

// Reason is the exit reason of the last run: Exit* constants.
func (r *RunPage) Reason() uint32 { return r.h.exitReason }

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
