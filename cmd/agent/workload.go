package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"doorbell/internal/guestreport"

	"golang.org/x/sys/unix"
)

const workloadNone = "none"

// Bounds of what a workload may be asked for.
const (
	maxSeconds = 24 * 60 * 60
	maxConsole = 1 << 30
)

// A workload is what happens between the two snapshots.
type workload struct {
	// run notes what it found beside its error; nil does nothing at all.
	run func(*guestreport.WorkloadResult) error
}

// parseWorkload reads the value of doorbell.workload=.
func parseWorkload(spec string) (workload, error) {
	kind, value, hasValue := strings.Cut(spec, "=")
	switch {
	case spec == workloadNone:
		return workload{}, nil
	case kind == "idle" && hasValue:
		d, err := parseSeconds(value)
		return workload{func(*guestreport.WorkloadResult) error { return idle(d) }}, wrapSpec(spec, err)
	case kind == "spin" && hasValue:
		d, err := parseSeconds(value)
		return program(func() (int, error) { return spin(d) }), wrapSpec(spec, err)
	case kind == "shootdown" && hasValue:
		w, err := parseShootdown(value)
		return w, wrapSpec(spec, err)
	case kind == "console" && hasValue:
		n, err := strconv.ParseUint(value, 10, 63)
		if err != nil || n > maxConsole {
			err = fmt.Errorf("not a number of bytes up to %d", maxConsole)
		}
		return workload{func(*guestreport.WorkloadResult) error { return writeConsole(os.Stdout, int(n)) }}, wrapSpec(spec, err)
	case kind == "exec" && strings.HasPrefix(value, "/"):
		return program(func() (int, error) { return runProgram(strings.Fields(value)) }), nil
	case kind == "traffic" && hasValue:
		w, err := parseTraffic(value)
		return w, wrapSpec(spec, err)
	case kind == "disk" && hasValue:
		w, err := parseDisk(value)
		return w, wrapSpec(spec, err)
	case kind == "irqprobe" && hasValue:
		w, err := parseIRQProbe(value)
		return w, wrapSpec(spec, err)
	case kind == "fetch" && hasValue:
		w, err := parseFetch(value)
		return w, wrapSpec(spec, err)
	case kind == "ping" && hasValue:
		w, err := parsePing(value)
		return w, wrapSpec(spec, err)
	}
	return workload{}, fmt.Errorf("workload %.80q is not one of %s", spec, workloads)
}

// workloads are the forms of doorbell.workload=, for people.
const workloads = "none, idle=SECONDS, spin=SECONDS, shootdown=COUNT,OTHER, console=BYTES, exec=/PROGRAM, traffic=HOST:PORT, disk=/dev/NAME,MIB (overwritten), irqprobe=COUNT, fetch=http://HOST[:PORT]/PATH or ping=HOST[,COUNT]"

// program is a workload with an exit status.
func program(run func() (status int, err error)) workload {
	return workload{func(result *guestreport.WorkloadResult) (err error) {
		result.ExitStatus, err = run()
		return err
	}}
}

func wrapSpec(spec string, err error) error {
	if err != nil {
		return fmt.Errorf("workload %.80q: %w", spec, err)
	}
	return nil
}

// parseSeconds accepts fractions: 0.25.
func parseSeconds(s string) (time.Duration, error) {
	seconds, err := strconv.ParseFloat(s, 64)
	if err != nil || !(seconds >= 0 && seconds <= maxSeconds) {
		return 0, fmt.Errorf("not a number of seconds up to %d", maxSeconds)
	}
	return time.Duration(seconds * float64(time.Second)), nil
}

// idle sleeps in the kernel: a timer of the Go runtime would wake more threads
// than one.
func idle(d time.Duration) error {
	until := bootClock() + d.Nanoseconds()
	for {
		left := until - bootClock()
		if left <= 0 {
			return nil
		}
		t := unix.NsecToTimespec(left)
		if err := unix.Nanosleep(&t, nil); err != nil && err != unix.EINTR {
			return fmt.Errorf("sleep: %w", err)
		}
	}
}

// writeConsole writes n bytes in lines of 64, and waits until the last one has
// left the serial port.
func writeConsole(console *os.File, n int) error {
	const line = "doorbell doorbell doorbell doorbell doorbell doorbell doorbell \n"
	for n > 0 {
		chunk := line
		if n < len(line) {
			chunk = line[len(line)-n:]
		}
		written, err := console.WriteString(chunk)
		if err != nil {
			return fmt.Errorf("console: %w", err)
		}
		n -= written
	}
	drain(console)
	return nil
}

// drain waits until the terminal has sent what was written (tcdrain). Without
// a terminal there is nothing to wait for.
func drain(console *os.File) {
	unix.IoctlSetInt(int(console.Fd()), unix.TCSBRK, 1)
}
