// Package bootparam speaks the Linux x86 boot protocol: it reads the setup
// header of a bzImage and builds the zero page (struct boot_params), the memory
// map and the setup data that a kernel entered in 64-bit mode finds there.
//
// The protocol is described in the kernel's Documentation/arch/x86/boot.rst and
// zero-page.rst, the structures in asm/bootparam.h.
package bootparam
