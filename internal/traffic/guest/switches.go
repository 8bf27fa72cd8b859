package guest

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// countSwitches runs work on one thread and returns how often that went to sleep meanwhile: its voluntary context switches, as getrusage(2) counts them.
// Each but one in progress was followed by a wake-up.
func countSwitches(work func() error) (uint64, error) {
	runtime.LockOSThread() // counts: a thread that pin has tied down stays so
	defer runtime.UnlockOSThread()
	var before, after unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &before); err != nil {
		return 0, fmt.Errorf("context switches: %w", err)
	}
	if err := work(); err != nil {
		return 0, err
	}
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &after); err != nil {
		return 0, fmt.Errorf("context switches: %w", err)
	}
	return uint64(after.Nvcsw - before.Nvcsw), nil
}
