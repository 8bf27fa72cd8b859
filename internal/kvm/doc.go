// Package kvm is the KVM ABI and one sound wrapper per ioctl; it decides nothing.
//
// Three kinds of descriptor, as in the kernel's own documentation (Documentation/virt/kvm/api.rst): System is /dev/kvm, VM
// is one virtual machine, VCPU is one virtual processor. Each owns its descriptor until Close.
//
// The constants, the structs and the names of exits in the z*.go files are generated from the kernel's headers. Register
// structs come from gokvm, whose layouts the tests hold against the same headers.
//
// Errors are *Error (the ioctl and the thing it was for) or *NotSupportedError (a feature that the host lacks, and why).
package kvm

//go:generate go run ./gen
