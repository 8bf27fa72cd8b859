// Package guest prepares everything that a Linux guest on x86-64 finds at its
// first instruction: the kernel, its initrd and command line, the boot
// parameters, ACPI tables, page tables and segments.
//
// [Build] only moves bytes between files and guest memory; it knows nothing of
// KVM. The resulting [Plan] says where everything went and in which state the
// first vCPU has to start.
package guest
