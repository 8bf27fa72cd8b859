// Package bochs has the recipe of the lab's second emulated host: Bochs, which interprets a whole Intel PC with VMX, APIC-register virtualization,
// virtual-interrupt delivery and posted interrupts, so that an unmodified kvm_intel in it posts. QEMU's emulation has none of these.
//
// Bochs comes from Debian's packages of a suite that has 3.1, unpacked into a folder of its own (Recipe); its programs are started by that folder's
// dynamic linker, so that they get its libraries and not the machine's. There is no VT-d in it and no IPI virtualization.
package bochs
