// Package kmod decides which kernel modules a small Linux loads and in which
// order. The host writes a manifest into the initramfs; the init program in it
// matches the manifest against the devices that are there. It takes the place
// of modprobe and depmod, which an initramfs of a few files has no room for.
package kmod

import "strings"

// Canonical spells a module's name as the kernel does in /proc/modules: a dash
// and an underscore are the same in a module's name.
func Canonical(name string) string { return strings.ReplaceAll(name, "-", "_") }
