package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// endPatience is how long a power-off may take before a reset is tried.
const endPatience = 10 * time.Second

// shell is what doorbell.end=shell runs.
const shell = "/bin/sh"

// end ends the machine as asked and does not return. complain gets what goes
// wrong on the way.
func end(how string, complain func(error)) {
	drain(os.Stdout)
	unix.Sync()
	switch how {
	case endReboot:
		restart(complain)
	case endPanic:
		crash(complain)
	case endHalt:
		for {
			idle(time.Hour)
		}
	case endShell:
		if err := runShell(shell); err != nil {
			complain(err)
		}
	}
	powerOff(complain)
}

// powerOff falls back to a reset where the machine cannot be powered off. On a
// kernel without ACPI reboot(2) would not fail: it would stop all CPUs for ever.
func powerOff(complain func(error)) {
	if _, err := os.Stat("/sys/firmware/acpi/tables"); errors.Is(err, os.ErrNotExist) {
		restart(complain)
	}
	go func() {
		if err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
			complain(fmt.Errorf("power off: %w", err))
		}
	}()
	idle(endPatience)
	restart(complain)
}

// restart resets the machine. There is nothing left to try after it.
func restart(complain func(error)) {
	for {
		if err := unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART); err != nil {
			complain(fmt.Errorf("restart: %w", err))
		}
		idle(endPatience)
	}
}

// crash makes the kernel panic (sysrq-c, Documentation/admin-guide/sysrq.rst).
func crash(complain func(error)) {
	if err := os.WriteFile("/proc/sysrq-trigger", []byte("c"), 0); err != nil {
		complain(fmt.Errorf("panic: %w", err))
		os.Exit(1) // of process 1, which makes the kernel panic as well
	}
}
