// Package futex is the kernel's wait on a word of memory, for words that only this process has.
package futex

import (
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Operations of linux/futex.h.
const (
	waitPrivate = 0 | 128
	wakePrivate = 1 | 128
)

// Wait sleeps while word is value, until Wake or a signal. The system call goes through the scheduler's hooks, so that a sleeping thread does not keep the
// garbage collector waiting.
func Wait(word *atomic.Uint32, value uint32) {
	_, _, _ = unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), waitPrivate, uintptr(value), 0, 0, 0)
}

// Wake wakes a number of the threads that sleep on word.
func Wake(word *atomic.Uint32, threads int) {
	_, _, _ = unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(word)), wakePrivate, uintptr(threads), 0, 0, 0)
}
