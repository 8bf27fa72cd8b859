// Package kernel recognises Linux kernels for x86-64 and loads them into guest
// memory, ready to be entered in 64-bit mode.
//
// A kernel is an ELF vmlinux, the same compressed, or a bzImage. Of a bzImage
// the vmlinux inside is unpacked here, by the host, so that the guest does not
// run its own decompressor; where that is not possible the bzImage's 64-bit
// entry point is used and the reason reported.
//
// Decompressed data streams from the file straight to its place in guest
// memory. No copy of the kernel exists in between, however large it is.
package kernel
