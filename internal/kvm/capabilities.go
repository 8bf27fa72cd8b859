package kvm

import (
	"fmt"
	"slices"
	"strings"
)

// Capability is one thing that KVM can or cannot do here, with how that is known.
type Capability struct {
	Name   string // linux/kvm.h's name without KVM_CAP_, in lower case
	Number int
	Value  int    // KVM_CHECK_EXTENSION's answer; 0 where absent
	Need   string // what doorbell does without it, or "required"
	Reason string // why it is absent; empty where present
}

// Present says whether the host has it.
func (c Capability) Present() bool { return c.Value > 0 }

// Capabilities is the host's answers, asked once.
type Capabilities struct {
	list     []Capability
	byNumber map[int]int
}

// wanted are the capabilities that doorbell asks for, with what their absence means. Versions are those of Linux.
var wanted = []struct {
	number      int
	need, since string
}{
	{CapUserMemory, "required", "2.6.26"},
	{CapExtCPUID, "required", "2.6.26"},
	{CapMPState, "required", "2.6.27"},
	{CapImmediateExit, "required", "4.13"},
	{CapIRQChip, "no in-kernel interrupt controllers", "2.6.20"},
	{CapSplitIRQChip, "no split irqchip", "4.4"},
	{CapPIT2, "no in-kernel 8254", "2.6.31"},
	{CapIRQRouting, "no MSI vectors", "2.6.30"},
	{CapIRQFD, "no interrupts by eventfd", "2.6.32"},
	{CapIRQFDResample, "no level interrupts by eventfd", "3.9"},
	{CapIOEventFD, "no doorbells by eventfd", "2.6.32"},
	{CapIOEventFDAnyLength, "doorbells of a fixed width only", "4.4"},
	{CapSignalMSI, "no MSI injection by ioctl", "3.5"},
	{CapX2APICAPI, "at most 255 vCPUs", "4.8"},
	{CapTSCDeadlineTimer, "the guest's LAPIC timer has no TSC-deadline mode", "2.6.39"},
	{CapSetTSSAddr, "only needed on old Intel processors", "2.6.25"},
	{CapSetIdentityMapAddr, "only needed on old Intel processors", "2.6.33"},
	{CapUserNMI, "no NMI from userspace", "2.6.28"},
	{CapVCPUEvents, "no INIT of a vCPU without an in-kernel LAPIC", "2.6.33"},
	{CapX86UserSpaceMSR, "no MSR exits", "5.10"},
	{CapX86DisableExits, "HLT, MWAIT and PAUSE always exit", "4.17"},
	{CapBinaryStatsFD, "KVM's own counters are not in the report", "5.14"},
	{CapExitOnEmulationFailure, "the bytes of an instruction that KVM cannot emulate are read from guest memory", "5.16"},
	{CapReadonlyMem, "no read-only memory slots", "3.7"},
	{CapTSCControl, "the guest's TSC runs at the host's frequency", "2.6.39"},
	{CapGetTSCKHz, "the guest calibrates its TSC by itself", "2.6.39"},
	{CapNrVCPUs, "no recommended number of vCPUs", "2.6.26"},
	{CapMaxVCPUs, "at most KVM_CAP_NR_VCPUS vCPUs", "3.0"},
	{CapMaxVCPUID, "vCPU ids up to KVM_CAP_MAX_VCPUS", "4.7"},
	{CapNrMemslots, "32 memory slots", "2.6.26"},
}

// Capabilities asks KVM once for everything that doorbell may use.
func (s *System) Capabilities() (*Capabilities, error) {
	c := &Capabilities{byNumber: make(map[int]int, len(wanted))}
	for _, w := range wanted {
		v, err := s.CheckExtension(w.number)
		if err != nil {
			return nil, err
		}
		e := Capability{Name: capabilityNames[w.number], Number: w.number, Value: v, Need: w.need}
		if v <= 0 {
			e.Reason = fmt.Sprintf("KVM_CHECK_EXTENSION %d answers %d: Linux has it since %s, unless it is configured out or the hardware lacks it", w.number, v, w.since)
		}
		c.byNumber[w.number] = len(c.list)
		c.list = append(c.list, e)
	}
	return c, nil
}

// All lists every capability asked for, present or not.
func (c *Capabilities) All() []Capability { return c.list }

// Value is a capability's answer; 0 where it is absent or was not asked for.
func (c *Capabilities) Value(number int) int {
	if i, ok := c.byNumber[number]; ok {
		return c.list[i].Value
	}
	return 0
}

// Without is the capabilities of a host that lacks some: how such a host is treated can be tried on one that has them.
func (c *Capabilities) Without(numbers ...int) *Capabilities {
	less := &Capabilities{list: slices.Clone(c.list), byNumber: c.byNumber}
	for _, n := range numbers {
		if i, ok := less.byNumber[n]; ok {
			less.list[i].Value, less.list[i].Reason = 0, "left out"
		}
	}
	return less
}

// Require is nil where the host has the capability, and otherwise a *NotSupportedError with the reason.
func (c *Capabilities) Require(number int) error {
	if c.Value(number) > 0 {
		return nil
	}
	e := &NotSupportedError{Feature: "KVM_CAP_" + strings.ToUpper(capabilityNames[number]), Reason: "not asked for"}
	if i, ok := c.byNumber[number]; ok {
		e.Reason = c.list[i].Reason
	}
	return e
}

// CheckRequired is the first required capability's absence, or nil.
func (c *Capabilities) CheckRequired() error {
	for _, e := range c.list {
		if e.Need == "required" && !e.Present() {
			return c.Require(e.Number)
		}
	}
	return nil
}

// MaxVCPUs is the most vCPUs that a machine may have here (Documentation/virt/kvm/api.rst, KVM_CREATE_VCPU).
func (c *Capabilities) MaxVCPUs() int {
	if n := c.Value(CapMaxVCPUs); n > 0 {
		return n
	}
	if n := c.Value(CapNrVCPUs); n > 0 {
		return n
	}
	return 4
}
