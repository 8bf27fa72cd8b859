package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// shootdownCommand is the argument that makes this program change its mappings while another CPU works.
const shootdownCommand = "shootdown"

// maxShootdowns bounds how often it does.
const maxShootdowns = 1_000_000

// What the last CPU does while the first one maps a page, takes the right to write away, and unmaps it.
const (
	otherIdles  = "alone"
	otherApart  = "apart"  // it spins in an address space of its own
	otherShares = "shared" // it spins in the same address space: its TLB may have what the first CPU changes
	otherItself = "beside" // this process is the one that spins
)

// parseShootdown reads COUNT,OTHER.
func parseShootdown(value string) (workload, error) {
	_, other, err := shootdownSpec(value)
	if err == nil && other == otherItself { // it would spin for ever
		err = otherError(other)
	}
	if err != nil {
		return workload{}, err
	}
	return program(func() (int, error) {
		self, err := os.Executable()
		if err != nil {
			return 0, fmt.Errorf("shootdown: %w", err)
		}
		// In another process, whose Go runtime can be told to leave its threads and its memory alone.
		return runProgram([]string{self, shootdownCommand, value}, "GODEBUG=asyncpreemptoff=1", "GOGC=off")
	}), nil
}

func shootdownSpec(value string) (count int, other string, err error) {
	n, other, _ := strings.Cut(value, ",")
	count, err = strconv.Atoi(n)
	if err != nil || count < 1 || count > maxShootdowns {
		return 0, "", fmt.Errorf("not a number from 1 to %d", maxShootdowns)
	}
	if !slices.Contains([]string{otherIdles, otherApart, otherShares, otherItself}, other) {
		return 0, "", otherError(other)
	}
	return count, other, nil
}

func otherError(other string) error {
	return fmt.Errorf("%.20q is not one of %s, %s, %s", other, otherIdles, otherApart, otherShares)
}

// shootdownMain is that process. It returns its exit status.
func shootdownMain(value string) int {
	count, other, err := shootdownSpec(value)
	if err == nil {
		err = shootDown(count, other)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "doorbell-agent:", oneLine(err.Error()))
		return 1
	}
	return 0
}

// shootDown changes the mapping of a page that often.
func shootDown(count int, other string) (err error) {
	debug.SetGCPercent(-1)
	cpus, err := onlineCPUs()
	if err != nil {
		return err
	}
	if len(cpus) < 2 {
		return errors.New("shootdown: it takes two CPUs")
	}
	last := cpus[len(cpus)-1]
	runtime.GOMAXPROCS(len(cpus) + 1)
	switch other {
	case otherItself:
		fmt.Println() // the parent waits for it
		return spinUntil(last, &atomic.Bool{})
	case otherApart:
		end, err := spinApart()
		if err != nil {
			return err
		}
		defer end()
	case otherShares:
		var stop atomic.Bool
		ended := make(chan error, 1)
		go func() { ended <- spinUntil(last, &stop) }()
		defer func() {
			stop.Store(true)
			err = errors.Join(err, <-ended)
		}()
	}
	runtime.LockOSThread()
	if err := pinThread(cpus[0]); err != nil {
		return fmt.Errorf("shootdown: %w", err)
	}
	return changeMappings(count)
}

// changeMappings maps a page with memory behind it, takes the right to write away and unmaps it, that often. The system calls are raw: the Go runtime would
// watch others, with a thread that sleeps for 20 µs at a time, whose timers would be most of what is counted.
func changeMappings(count int) error {
	page := uintptr(os.Getpagesize())
	for range count {
		at, _, errno := unix.RawSyscall6(unix.SYS_MMAP, 0, page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE, ^uintptr(0), 0)
		if errno == 0 {
			_, _, errno = unix.RawSyscall(unix.SYS_MPROTECT, at, page, unix.PROT_READ)
		}
		if errno == 0 {
			_, _, errno = unix.RawSyscall(unix.SYS_MUNMAP, at, page, 0)
		}
		if errno != 0 {
			return fmt.Errorf("shootdown: map a page, protect and unmap it: %w", errno)
		}
	}
	return nil
}

// spinUntil keeps a CPU busy in user mode. Its thread ends with it.
func spinUntil(cpu int, stop *atomic.Bool) error {
	runtime.LockOSThread()
	if err := pinThread(cpu); err != nil {
		return fmt.Errorf("shootdown: spin: %w", err)
	}
	for !stop.Load() {
	}
	return nil
}

// spinApart has another process spin, until end.
func spinApart() (end func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("shootdown: %w", err)
	}
	c := exec.Command(self, shootdownCommand, "1,"+otherItself)
	ready, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("shootdown: start a process that spins: %w", err)
	}
	end = func() {
		_ = c.Process.Kill()
		_ = c.Wait() // it was killed
	}
	if _, err := ready.Read(make([]byte, 1)); err != nil {
		end()
		return nil, fmt.Errorf("shootdown: the process that spins: %w", err)
	}
	return end, nil
}
