package irqchip

import (
	"strings"
	"testing"

	"doorbell/internal/kvm"
	"doorbell/internal/pci"
)

func TestPosting(t *testing.T) {
	defer func(was func() (bool, string), vendor func() kvm.Vendor) { virtualizesAPIC, hostVendor = was, vendor }(virtualizesAPIC, hostVendor)
	vendor := kvm.VendorVMX
	hostVendor = func() kvm.Vendor { return vendor }
	const on, off = "", "avic=N: KVM does not virtualize local APICs in hardware"
	one := pci.Message{Address: 0xfee01000, Data: 0x40}
	for _, c := range []struct {
		why        string
		message    pci.Message
		chip, want string
	}{
		{on, one, KernelName, ""},
		{on, one, SplitName, ""},
		{on, one, UserName, "doorbell's own"},
		{off, one, KernelName, "avic=N: KVM does not"},
		{on, pci.Message{Address: 0xfee03004, Data: 0x40}, KernelName, "several destinations"},
		{on, pci.Message{Address: 0xfee02004, Data: 0x140}, KernelName, ""}, // lowest priority, of one
		{on, pci.Message{Address: 0xfee01000, Data: 0x440}, KernelName, "delivery mode is NMI"},
		{on, pci.Message{Address: 0x1000}, KernelName, "no local APIC"},
	} {
		virtualizesAPIC = func() (bool, string) { return c.why == "", c.why }
		if got := NewPosting(c.chip).WhyNot(c.message); c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%v on %s: %q, want %q", c.message, c.chip, got, c.want)
		}
	}
	virtualizesAPIC = func() (bool, string) { return true, "" }
	vendor = kvm.VendorSVM
	if got := NewPosting(KernelName).WhyNot(one); !strings.Contains(got, "PIT_REINJ") {
		t.Errorf("AVIC with KVM's PIT: %q", got)
	}
	if got := NewPosting(SplitName).WhyNot(one); got != "" {
		t.Errorf("AVIC without KVM's PIT: %q", got)
	}
}
