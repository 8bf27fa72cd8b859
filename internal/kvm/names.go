package kvm

import (
	"fmt"
	"strconv"
)

// NumExits bounds the exit reasons of KVM_RUN: they are below it.
const NumExits = uint32(len(exitNames))

// ExitName is the name of a KVM exit reason, as linux/kvm.h has it without KVM_EXIT_, in lower case: "io", "mmio", "hlt".
func ExitName(reason uint32) string {
	if reason < NumExits && exitNames[reason] != "" {
		return exitNames[reason]
	}
	return "exit_" + strconv.Itoa(int(reason))
}

// Vendor is whose virtualization hardware runs the guests; it decides the numbering of the kvm_exit tracepoint.
type Vendor string

// The vendors that KVM knows on x86.
const (
	VendorSVM     Vendor = "svm"
	VendorVMX     Vendor = "vmx"
	VendorUnknown Vendor = ""
)

// HardwareExitName is the name of an exit code of the hardware, as asm/svm.h or asm/vmx.h has it, in lower case.
func HardwareExitName(v Vendor, code uint64) string {
	var n string
	switch v {
	case VendorSVM:
		n = svmNames[code]
	case VendorVMX:
		n = vmxNames[code&0xffff]
	}
	if n == "" {
		return fmt.Sprintf("%s_exit_%#x", v, code)
	}
	return n
}
