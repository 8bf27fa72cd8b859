package kvm

import (
	"os"
	"strings"
)

// Device is the KVM device.
const Device = "/dev/kvm"

// Backend names the module behind the device: "kvm-amd", "kvm-intel", "kvm-pvm", "unknown" where it is none of these, or "none".
func Backend() string {
	for _, m := range []string{"kvm_amd", "kvm_intel", "kvm_pvm"} {
		if _, err := os.Stat("/sys/module/" + m); err == nil {
			return strings.ReplaceAll(m, "_", "-")
		}
	}
	if _, err := os.Stat(Device); err == nil {
		return "unknown"
	}
	return "none"
}

// HostVendor is whose virtualization hardware KVM uses here, by the module that is loaded or built in.
func HostVendor() Vendor {
	switch Backend() {
	case "kvm-amd":
		return VendorSVM
	case "kvm-intel":
		return VendorVMX
	}
	return VendorUnknown
}
