package main

import "unsafe"

// register returns the 4-byte register at an offset of a mapped page. The page
// stays mapped for as long as the agent runs.
func register(page []byte, offset int) *uint32 {
	return (*uint32)(unsafe.Pointer(&page[offset : offset+4][0]))
}

// store writes a register with one plain 4-byte store. An atomic store would be
// an XCHG, which reads the register too and which a hypervisor must emulate as
// a locked access. The call is a barrier for the compiler; on x86 the processor
// keeps stores in order.
//
//go:noinline
func store(register *uint32, value uint32) { *register = value }
