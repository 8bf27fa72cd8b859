// Package cpio writes archives in the "newc" format (magic 070701), the one
// that Linux unpacks as an initramfs: see "initramfs buffer format" in the
// kernel's Documentation/driver-api/early-userspace/buffer-format.rst.
//
// Archives are reproducible: every entry belongs to root, has the same
// modification time and a number that only depends on its position, so equal
// calls in equal order give equal bytes. The caller chooses the order.
//
// A closed archive is padded to a multiple of 512 bytes, hence several of them
// can be written one after the other: the kernel unpacks them in turn.
package cpio
