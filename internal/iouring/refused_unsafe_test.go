package iouring

import (
	"errors"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestRingRefused: a seccomp filter that forbids io_uring_setup or hides it, as containers have, is told from a failure.
func TestRingRefused(t *testing.T) {
	for _, errno := range []unix.Errno{unix.EPERM, unix.ENOSYS} {
		refused, filtered := make(chan error), make(chan error, 1)
		go func() {
			runtime.LockOSThread() // not unlocked: the filter ends with the thread
			err := forbidSetup(errno)
			filtered <- err
			if err == nil {
				_, err = New(8)
			}
			refused <- err
		}()
		err := <-refused
		if why := <-filtered; why != nil {
			t.Skip(why)
		}
		var unavailable *UnavailableError
		if !errors.As(err, &unavailable) || !errors.Is(err, errno) || unavailable.Reason == "" {
			t.Errorf("%v: %v", errno, err)
		}
	}
}

// forbidSetup has io_uring_setup(2) fail on the calling thread.
func forbidSetup(errno unix.Errno) error {
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // seccomp_data.nr
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_IO_URING_SETUP, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(errno)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	if _, _, errno := unix.Syscall(unix.SYS_PRCTL, unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(program))); errno != 0 {
		return errno
	}
	return nil
}
