// Package multiboot loads kernels that ask for it in the words of the Multiboot Specification, version 0.6.96: small kernels, and test images, which
// a boot loader enters in 32-bit protected mode with a structure that says what there is.
//
//   - header.go: how an image is recognised, and what it wants
//   - image.go: where its parts go, by its ELF program headers or by the header's own addresses
//   - info.go: the structure that it is given
package multiboot
