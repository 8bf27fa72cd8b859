package kvm

import (
	"encoding/binary"
	"fmt"

	"doorbell/internal/ioctl"

	"golang.org/x/sys/unix"
)

// VM is one virtual machine.
type VM struct {
	fd      int
	runSize int // bytes of a vCPU's shared mapping
}

// Close releases the descriptor. The kernel keeps the machine as long as one of its vCPUs or eventfds is open.
func (v *VM) Close() error { return unix.Close(v.fd) }

// CheckExtension is KVM_CHECK_EXTENSION on the machine, whose answers can be narrower than the system's.
func (v *VM) CheckExtension(capability int) (int, error) {
	n, err := ioctl.Value(v.fd, kvmCheckExtension, uintptr(capability))
	return n, fail(kvmCheckExtension, err, "%d", capability)
}

// EnableCap switches a capability of the machine on.
func (v *VM) EnableCap(capability uint32, args ...uint64) error {
	c := enableCap{Cap: capability}
	copy(c.Args[:], args)
	_, err := ioctl.Pointer(v.fd, kvmEnableCap, &c)
	return fail(kvmEnableCap, err, "%d", capability)
}

// SetUserMemory maps host, which must stay mapped while the machine exists, at gpa. flags are KVM_MEM_*.
func (v *VM) SetUserMemory(slot, flags uint32, gpa uint64, host []byte) error {
	r := UserspaceMemoryRegion{Slot: slot, Flags: flags, GuestPhysAddr: gpa, MemorySize: uint64(len(host)), UserspaceAddr: ioctl.Address(host)}
	_, err := ioctl.Pointer(v.fd, kvmSetUserMemoryRegion, &r)
	return fail(kvmSetUserMemoryRegion, err, "slot %d gpa %#x size %#x", slot, gpa, len(host))
}

// SetTSSAddr gives KVM three pages of guest-physical space for its own use in real mode (Intel without unrestricted guest).
func (v *VM) SetTSSAddr(gpa uint64) error {
	_, err := ioctl.Value(v.fd, kvmSetTssAddr, uintptr(gpa))
	return fail(kvmSetTssAddr, err, "%#x", gpa)
}

// SetIdentityMapAddr gives KVM one page for its identity page table; before the first vCPU.
func (v *VM) SetIdentityMapAddr(gpa uint64) error {
	_, err := ioctl.Pointer(v.fd, kvmSetIdentityMapAddr, &gpa)
	return fail(kvmSetIdentityMapAddr, err, "%#x", gpa)
}

// CreateIRQChip makes the in-kernel PIC pair, IOAPIC and, for vCPUs created later, local APICs.
func (v *VM) CreateIRQChip() error {
	_, err := ioctl.Value(v.fd, kvmCreateIrqchip, 0)
	return fail(kvmCreateIrqchip, err, "")
}

// CreatePIT makes the in-kernel 8254 with a speaker port (0x61) that reads as one without a speaker.
func (v *VM) CreatePIT() error {
	_, err := ioctl.Pointer(v.fd, kvmCreatePit2, &pitConfig{Flags: pitSpeakerDummy})
	return fail(kvmCreatePit2, err, "")
}

// IRQLine drives a GSI to a level.
func (v *VM) IRQLine(gsi uint32, level bool) error {
	l := IRQLevel{GSI: gsi}
	if level {
		l.Level = 1
	}
	_, err := ioctl.Pointer(v.fd, kvmIrqLine, &l)
	if err == nil {
		return nil
	}
	return fail(kvmIrqLine, err, "gsi %d", gsi)
}

// IRQFD makes eventfd raise gsi: a pulse each time it is signalled.
func (v *VM) IRQFD(gsi uint32, eventfd int) error {
	_, err := ioctl.Pointer(v.fd, kvmIrqfd, &irqfd{FD: uint32(eventfd), GSI: gsi})
	return fail(kvmIrqfd, err, "gsi %d", gsi)
}

// ResampledIRQFD makes eventfd raise gsi to a level, which stays until the guest ends the interrupt; KVM then lowers it and signals resample.
func (v *VM) ResampledIRQFD(gsi uint32, eventfd, resample int) error {
	_, err := ioctl.Pointer(v.fd, kvmIrqfd, &irqfd{FD: uint32(eventfd), GSI: gsi, Flags: irqfdFlagResample, ResampleFD: uint32(resample)})
	return fail(kvmIrqfd, err, "gsi %d, resampled", gsi)
}

// RemoveIRQFD undoes IRQFD and ResampledIRQFD. It returns when no injection from eventfd is under way any more.
func (v *VM) RemoveIRQFD(gsi uint32, eventfd int) error {
	_, err := ioctl.Pointer(v.fd, kvmIrqfd, &irqfd{FD: uint32(eventfd), GSI: gsi, Flags: irqfdFlagDeassign})
	return fail(kvmIrqfd, err, "remove gsi %d", gsi)
}

// IOEvent is a guest's write that signals an eventfd instead of leaving to userspace.
type IOEvent struct {
	Addr   uint64 // a port if Port
	Port   bool
	Length uint32  // bytes; 0, where KVM_CAP_IOEVENTFD_ANY_LENGTH is, is any
	Match  *uint64 // only a write of this value; nil is any
}

func (e IOEvent) abi(eventfd int, flags uint32) *ioeventfd {
	a := &ioeventfd{Addr: e.Addr, Len: e.Length, FD: int32(eventfd), Flags: flags}
	if e.Port {
		a.Flags |= ioeventfdFlagPIO
	}
	if e.Match != nil {
		a.Flags |= ioeventfdFlagDatamatch
		a.Datamatch = *e.Match
	}
	return a
}

// IOEventFD makes a write signal eventfd.
func (v *VM) IOEventFD(e IOEvent, eventfd int) error {
	_, err := ioctl.Pointer(v.fd, kvmIoeventfd, e.abi(eventfd, 0))
	return fail(kvmIoeventfd, err, "address %#x", e.Addr)
}

// RemoveIOEventFD undoes IOEventFD, whose arguments it needs.
func (v *VM) RemoveIOEventFD(e IOEvent, eventfd int) error {
	_, err := ioctl.Pointer(v.fd, kvmIoeventfd, e.abi(eventfd, ioeventfdFlagDeassign))
	return fail(kvmIoeventfd, err, "remove address %#x", e.Addr)
}

// SignalMSI injects a message, without an allocation. delivered is false where the guest's APIC blocked it.
func (v *VM) SignalMSI(address uint64, data uint32) (delivered bool, err error) {
	m := MSI{AddressLo: uint32(address), AddressHi: uint32(address >> 32), Data: data}
	n, err := ioctl.Pointer(v.fd, kvmSignalMsi, &m)
	if err == nil { // the error's arguments would be allocated
		return n > 0, nil
	}
	return n > 0, fail(kvmSignalMsi, err, "address %#x data %#x", address, data)
}

// Route is an entry of the GSI routing table: exactly one of the two is set.
type Route struct {
	MSI  *MSIRoute
	Chip *ChipRoute
}

// routeSize is sizeof(struct kvm_irq_routing_entry).
const routeSize = 48

// SetGSIRouting replaces the whole routing table. Every call disturbs all vCPUs: batch the changes.
func (v *VM) SetGSIRouting(routes []Route) error {
	// struct kvm_irq_routing {u32 nr, flags; entries[]}, in 8-byte words so that the kernel finds it aligned.
	b := binary.LittleEndian.AppendUint32(make([]byte, 0, 8+routeSize*len(routes)), uint32(len(routes)))
	b = binary.LittleEndian.AppendUint32(b, 0)
	for i, r := range routes {
		var err error
		switch {
		case r.MSI != nil && r.Chip == nil:
			r.MSI.Type = RoutingMSI
			b, err = binary.Append(b, binary.LittleEndian, r.MSI)
		case r.Chip != nil && r.MSI == nil:
			r.Chip.Type = RoutingIRQChip
			b, err = binary.Append(b, binary.LittleEndian, r.Chip)
		default:
			err = unix.EINVAL
		}
		if err != nil || len(b) != 8+routeSize*(i+1) {
			return fail(kvmSetGsiRouting, fmt.Errorf("entry %d is not one route: %w", i, unix.EINVAL), "%d entries", len(routes))
		}
	}
	_, err := ioctl.Pointer(v.fd, kvmSetGsiRouting, &b[0])
	return fail(kvmSetGsiRouting, err, "%d entries", len(routes))
}

// CreateVCPU makes a virtual processor whose APIC id is id, and maps what it shares with its thread.
func (v *VM) CreateVCPU(id int) (*VCPU, error) {
	fd, err := ioctl.Value(v.fd, kvmCreateVcpu, uintptr(id))
	if err != nil {
		return nil, fail(kvmCreateVcpu, err, "vcpu %d", id)
	}
	run, err := unix.Mmap(fd, 0, v.runSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		unix.Close(fd)
		return nil, &Error{Op: "mmap kvm_run", Thing: fmt.Sprintf("vcpu %d", id), Err: err}
	}
	return &VCPU{id: id, fd: fd, run: newRunPage(run)}, nil
}

// Stats opens the machine's own statistics.
func (v *VM) Stats() (*Stats, error) { return openStats(v.fd, "vm") }
