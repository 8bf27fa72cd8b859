package irqchip

import (
	"fmt"

	"doorbell/internal/kvm"
	"doorbell/internal/pci"
	"doorbell/irqchip/ioapic"
	"doorbell/irqchip/lapic"
	"doorbell/vcpu"
)

// User is nothing but models: KVM has no interrupt controllers, and takes vectors from the vCPUs' threads (KVM_INTERRUPT).
//
// Everything that interrupts a vCPU, a device, an IOAPIC's pin or another vCPU, is a message on the local APICs' bus, which posts it to the
// destination's descriptor and kicks its thread out of the guest if nobody has yet. The thread injects at its next entry; see userCPU.
type User struct {
	southbridge
	bus   *lapic.Bus
	vcpus []userCPU
}

// newUser creates the controllers; before the machine's first vCPU.
func newUser(c Config) (_ *User, err error) {
	for _, cap := range []int{kvm.CapUserNMI, kvm.CapVCPUEvents} {
		if err := c.Caps.Require(cap); err != nil {
			return nil, err
		}
	}
	u := &User{vcpus: make([]userCPU, c.VCPUs)}
	// The x2APIC's registers are MSRs that KVM does not know without a local APIC of its own: an access is an exit where KVM can do that.
	x2apic := c.Caps.Value(kvm.CapX86UserSpaceMSR)&kvm.MSRExitReasonInvalid != 0
	if x2apic {
		if err := c.VM.EnableCap(kvm.CapX86UserSpaceMSR, kvm.MSRExitReasonInvalid); err != nil {
			return nil, err
		}
	} else if c.VCPUs > maxXAPICID {
		return nil, c.Caps.Require(kvm.CapX86UserSpaceMSR)
	}
	if u.bus, err = lapic.NewBus(c.VCPUs, u.kick); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = u.Close()
		}
	}()
	if err := u.build(outlets{messages: userOutput{u.bus}, intr: &u.vcpus[0], book: c.Ledger, activeLow: c.ActiveLow}); err != nil {
		return nil, err
	}
	for id := range u.vcpus {
		if err := u.vcpus[id].build(u, id, c); err != nil {
			return nil, fmt.Errorf("local APIC of vCPU %d: %w", id, err)
		}
	}
	u.alarms.start()
	return u, nil
}

// kick is the bus's way to a vCPU's thread. One that does not exist yet looks at its descriptor before it first enters the guest.
func (u *User) kick(id int) {
	if c := u.vcpus[id].cpu.Load(); c != nil {
		c.Kick()
	}
}

// Name implements Chip.
func (u *User) Name() string { return UserName }

// VCPU implements Chip.
func (u *User) VCPU(id int) vcpu.Controller { return &u.vcpus[id] }

// TableChanges implements Chip: KVM has no routing table here.
func (u *User) TableChanges() uint64 { return 0 }

// Close implements Chip.
func (u *User) Close() error { return u.closeBridge() }

// userOutput is the IOAPIC's way to the local APICs.
type userOutput struct{ bus *lapic.Bus }

// Deliver implements ioapic.Output.
func (o userOutput) Deliver(m ioapic.Message) ioapic.Acceptance {
	dest := uint32(m.Dest)
	if dest == 0xff && !m.Logical {
		dest = lapic.Broadcast
	}
	r := o.bus.Send(lapic.Message{Vector: m.Vector, Mode: lapic.Mode(m.Mode), Dest: dest, Logical: m.Logical, Level: true, Trigger: m.Level})
	switch r.Accepted {
	case 0:
		return ioapic.Nobody
	case r.Coalesced:
		return ioapic.Coalesced
	}
	return ioapic.Delivered
}

// NewVector implements pci.Vectors.
func (u *User) NewVector(device string, n int) (pci.Vector, error) {
	return &userVector{bus: u.bus, device: device, number: n, fd: -1}, nil
}

// SetRoutes implements pci.Vectors: a vector has its route to itself.
func (u *User) SetRoutes(batch []pci.Route) error {
	for _, r := range batch {
		if _, ok := lapic.DecodeMSI(r.Message); !ok {
			v := r.Vector.(*userVector)
			return fmt.Errorf("%s vector %d: address %#x is none of a local APIC", v.device, v.number, r.Message.Address)
		}
	}
	for _, r := range batch {
		v := r.Vector.(*userVector)
		m, _ := lapic.DecodeMSI(r.Message)
		v.message = &m
	}
	return nil
}

// Release implements pci.Vectors.
func (u *User) Release(batch []pci.Vector) {
	for _, r := range batch {
		r.(*userVector).message = nil
	}
}

// Remove implements pci.Vectors.
func (u *User) Remove(r pci.Vector) error { return r.(*userVector).remove() }
