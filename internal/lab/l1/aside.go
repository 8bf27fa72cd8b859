package l1

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"doorbell/internal/threads"

	"golang.org/x/sys/unix"
)

// stepAside puts the lab's own work onto the first processor: this process's threads, and devices' interrupts, of which the channel's serial port has many.
// Whoever measures interrupts on another processor does not find ours there. What the calling goroutine's thread starts runs everywhere; the thread is
// the goroutine's alone from then on.
func stepAside() error {
	var all, first unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return fmt.Errorf("list the processors: %w", err)
	}
	first.Set(0)
	if err := threads.RunOn(&first); err != nil {
		return fmt.Errorf("step aside: %w", err)
	}
	masks, err := filepath.Glob("/proc/irq/[0-9]*/smp_affinity")
	if err != nil {
		return err
	}
	for _, m := range append(masks, "/proc/irq/default_smp_affinity") {
		_ = os.WriteFile(m, []byte("1"), 0) // some interrupts cannot be moved
	}
	runtime.LockOSThread()
	if err := unix.SchedSetaffinity(0, &all); err != nil {
		return fmt.Errorf("let the command run everywhere: %w", err)
	}
	return nil
}
