package l1

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// spareFirst has what the calling goroutine's thread starts run on every processor but the first. The thread is the goroutine's alone from
// then on, so that nothing else of this process comes to it.
//
// QEMU's emulated processors clear a flag of the first one, IGNNE, with every FXRSTOR and XRSTOR (cpu_clear_ignne): a read and a write of the
// word hflags2, by a thread that has no right to it. The first processor's global interrupt flag and its nested paging are bits of the same
// word, and a VMRUN or #VMEXIT there that falls in between is undone by half: L1 runs through a guest's page tables or is interrupted where
// it must not be, guests stop or die, and L1 panics. It was seen in every third guest with much traffic, and kept one of 130 vCPUs from starting. A first processor that never enters
// a guest has nothing to lose.
func spareFirst() error {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return fmt.Errorf("list the processors: %w", err)
	}
	set.Clear(0)
	if set.Count() == 0 {
		return nil
	}
	runtime.LockOSThread()
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("spare the first processor: %w", err)
	}
	return nil
}
