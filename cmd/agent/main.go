// Command agent is the guest's /init: a static program that brings up what a
// guest needs, runs the workload that was asked for between two looks at the
// kernel's counters, reports them to the host through the mailbox, and ends
// the machine. It knows nothing of the host; without a mailbox it does all the
// same and keeps the report to itself.
//
// Parameters on the kernel's command line:
//
//	doorbell.workload=none|idle=SECONDS|spin=SECONDS|console=BYTES|exec=PROGRAM|
//	                  traffic=HOST:PORT|fetch=http://HOST[:PORT]/PATH|ping=HOST[,COUNT]
//	doorbell.net=dhcp|off|static=ADDRESS/LENGTH[,GATEWAY[,DNS]]
//	                          before the workload; without it, dhcp where there is a card
//	doorbell.wait=1           wait for the host's job before the workload
//	doorbell.show=interrupts  print /proc/interrupts after the workload
//	doorbell.end=poweroff|reboot|panic|shell|halt
//	doorbell.mailbox=ADDRESS  where the mailbox is, for a kernel with acpi=off
//
// The first line on the console is always "doorbell-agent: userspace".
package main

import (
	"fmt"
	"math"
	"os"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// marker is what a benchmark of any VMM waits for.
const marker = "doorbell-agent: userspace\n"

// version is what the agent calls itself in its Hello.
const version = "doorbell-agent 1"

func main() {
	uptime := bootClock()
	if len(os.Args) == 3 && os.Args[1] == shootdownCommand {
		os.Exit(shootdownMain(os.Args[2]))
	}
	if len(os.Args) == 3 && os.Args[1] == spinCommand {
		os.Exit(spinMain(os.Args[2]))
	}
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "doorbell-agent: this program is a guest's /init and runs as process 1 only")
		os.Exit(2)
	}
	os.Stdout.WriteString(marker)
	// What this program allocates is small and bounded; collecting it would
	// start threads and disturb what is measured.
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(memoryLimit)

	a := &agent{uptime: uptime, options: defaultOptions()}
	// If process 1 ends, the kernel panics: the host would see a crash where
	// there is a fault of ours with a message.
	defer func() {
		if r := recover(); r != nil {
			a.complain(fmt.Errorf("panic: %v", r))
		}
		a.mailbox.bye()
		end(a.options.end, a.complain)
	}()
	if err := a.run(); err != nil {
		a.complain(err)
		if a.options.end == endShell || a.options.end == endHalt {
			a.options.end = endPowerOff
		}
	}
}

// memoryLimit is where the collector starts nevertheless.
const memoryLimit = 64 << 20

// bootClock is the time since the kernel's clock started, in nanoseconds.
func bootClock() int64 {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) != nil {
		return math.MaxInt64
	}
	return t.Nano()
}
