package kvm

import (
	"doorbell/internal/ioctl"

	"golang.org/x/sys/unix"
)

// VCPU is one virtual processor. Its methods are for the thread that runs it.
type VCPU struct {
	id  int
	fd  int
	run *RunPage

	vector interrupt // KVM_INTERRUPT's argument, here so that it costs no allocation
}

// ID is the vCPU's number, which is its APIC id.
func (c *VCPU) ID() int { return c.id }

// RunPage is what the vCPU shares with its thread.
func (c *VCPU) RunPage() *RunPage { return c.run }

// Close unmaps the shared page and releases the descriptor; the vCPU must not be running.
func (c *VCPU) Close() error {
	if err := unix.Munmap(c.run.mem); err != nil {
		return &Error{Op: "munmap kvm_run", Err: err}
	}
	return unix.Close(c.fd)
}

// Run enters the guest and returns 0 when KVM has an exit for userspace, unix.EINTR when a signal or immediate_exit ended
// the run, or another error number. It goes through the scheduler's system-call hooks on purpose: without them the garbage
// collector waits for the guest. It allocates nothing.
func (c *VCPU) Run() unix.Errno {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(c.fd), kvmRun.Number, 0)
	return errno
}

// Regs reads the general-purpose registers.
func (c *VCPU) Regs() (Regs, error) {
	var r Regs
	_, err := ioctl.Pointer(c.fd, kvmGetRegs, &r)
	return r, fail(kvmGetRegs, err, "vcpu %d", c.id)
}

// SetRegs writes the general-purpose registers.
func (c *VCPU) SetRegs(r *Regs) error {
	_, err := ioctl.Pointer(c.fd, kvmSetRegs, r)
	return fail(kvmSetRegs, err, "vcpu %d", c.id)
}

// Sregs reads segments, control registers and the APIC base.
func (c *VCPU) Sregs() (Sregs, error) {
	var r Sregs
	_, err := ioctl.Pointer(c.fd, kvmGetSregs, &r)
	return r, fail(kvmGetSregs, err, "vcpu %d", c.id)
}

// SetSregs writes segments, control registers and the APIC base.
func (c *VCPU) SetSregs(r *Sregs) error {
	_, err := ioctl.Pointer(c.fd, kvmSetSregs, r)
	return fail(kvmSetSregs, err, "vcpu %d", c.id)
}

// SetCPUID gives the vCPU its CPUID table; before it first runs.
func (c *VCPU) SetCPUID(entries []CPUIDEntry) error {
	if len(entries) > maxCPUIDEntries {
		return fail(kvmSetCpuid2, unix.E2BIG, "vcpu %d: %d entries", c.id, len(entries))
	}
	t := &cpuidTable{n: uint32(len(entries))}
	copy(t.entries[:], entries)
	_, err := ioctl.Pointer(c.fd, kvmSetCpuid2, t)
	return fail(kvmSetCpuid2, err, "vcpu %d", c.id)
}

// maxMSRs bounds one call of SetMSRs.
const maxMSRs = 64

// SetMSRs writes model-specific registers; an error names the first that KVM refused.
func (c *VCPU) SetMSRs(entries ...MSREntry) error {
	t := struct {
		n       uint32
		_       uint32
		entries [maxMSRs]MSREntry
	}{n: uint32(len(entries))}
	if len(entries) > maxMSRs {
		return fail(kvmSetMsrs, unix.E2BIG, "vcpu %d: %d registers", c.id, len(entries))
	}
	copy(t.entries[:], entries)
	n, err := ioctl.Pointer(c.fd, kvmSetMsrs, &t)
	if err == nil && n < len(entries) {
		return fail(kvmSetMsrs, unix.EINVAL, "vcpu %d: MSR %#x", c.id, entries[n].Index)
	}
	return fail(kvmSetMsrs, err, "vcpu %d", c.id)
}

// LAPIC reads the in-kernel local APIC's registers.
func (c *VCPU) LAPIC() (LAPICState, error) {
	var l LAPICState
	_, err := ioctl.Pointer(c.fd, kvmGetLapic, &l)
	return l, fail(kvmGetLapic, err, "vcpu %d", c.id)
}

// SetLAPIC writes the in-kernel local APIC's registers.
func (c *VCPU) SetLAPIC(l *LAPICState) error {
	_, err := ioctl.Pointer(c.fd, kvmSetLapic, l)
	return fail(kvmSetLapic, err, "vcpu %d", c.id)
}

// NMI queues a non-maskable interrupt for the vCPU, whatever its local APIC's LINT1 entry says: to look there is the caller's task.
func (c *VCPU) NMI() error {
	_, err := ioctl.Value(c.fd, kvmNmi, 0)
	return fail(kvmNmi, err, "vcpu %d", c.id)
}

// Interrupt injects a vector as a processor without a local APIC takes it: the guest gets it with the next entry, if RunPage.Ready said that it
// can. With an in-kernel LAPIC, in split mode, it is the PIC's vector. It allocates nothing.
func (c *VCPU) Interrupt(vector uint8) error {
	c.vector.Vector = uint32(vector)
	_, err := ioctl.Pointer(c.fd, kvmInterrupt, &c.vector)
	if err == nil {
		return nil
	}
	return fail(kvmInterrupt, err, "vcpu %d vector %#x", c.id, vector)
}

// ForgetEvents drops exceptions, interrupts and NMIs that wait to be delivered or block others, as INIT does.
func (c *VCPU) ForgetEvents() error {
	e := vcpuEvents{Flags: vcpuEventNMIPending}
	_, err := ioctl.Pointer(c.fd, kvmSetVcpuEvents, &e)
	return fail(kvmSetVcpuEvents, err, "vcpu %d", c.id)
}

// ResetDebugRegs gives the debug registers their values after RESET and INIT (Intel SDM volume 3, 10.1.1).
func (c *VCPU) ResetDebugRegs() error {
	d := debugRegs{DR6: 0xffff0ff0, DR7: 0x400}
	_, err := ioctl.Pointer(c.fd, kvmSetDebugregs, &d)
	return fail(kvmSetDebugregs, err, "vcpu %d", c.id)
}

// MPState is whether the vCPU runs, halts or waits to be started: MPState* constants.
func (c *VCPU) MPState() (uint32, error) {
	var s mpState
	_, err := ioctl.Pointer(c.fd, kvmGetMpState, &s)
	return s.State, fail(kvmGetMpState, err, "vcpu %d", c.id)
}

// SetMPState has the vCPU run, halt or wait to be started.
func (c *VCPU) SetMPState(state uint32) error {
	_, err := ioctl.Pointer(c.fd, kvmSetMpState, &mpState{State: state})
	return fail(kvmSetMpState, err, "vcpu %d", c.id)
}

// Translate walks the guest's page tables for a linear address. ok is false where it is not mapped.
func (c *VCPU) Translate(linear uint64) (physical uint64, ok bool, err error) {
	t := translation{LinearAddress: linear}
	_, err = ioctl.Pointer(c.fd, kvmTranslate, &t)
	return t.PhysicalAddress, t.Valid != 0, fail(kvmTranslate, err, "vcpu %d address %#x", c.id, linear)
}

// TSCKHz is the frequency of the guest's time-stamp counter in kHz.
func (c *VCPU) TSCKHz() (int, error) {
	n, err := ioctl.Value(c.fd, kvmGetTscKhz, 0)
	return n, fail(kvmGetTscKhz, err, "vcpu %d", c.id)
}

// Stats opens the vCPU's statistics. Open them before the vCPU first runs: the kernel holds the vCPU's lock while it does.
func (c *VCPU) Stats() (*Stats, error) { return openStats(c.fd, "vcpu") }
