package guest

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestCountSwitches: a thread that sleeps is counted, and one that does not is not.
func TestCountSwitches(t *testing.T) {
	n, err := countSwitches(func() error {
		for range 5 {
			nap := unix.NsecToTimespec(1_000_000)
			if err := unix.Nanosleep(&nap, nil); err != nil && err != unix.EINTR {
				return err
			}
		}
		return nil
	})
	if err != nil || n < 5 {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := countSwitches(func() error { return unix.ENOSYS }); err != unix.ENOSYS {
		t.Errorf("error %v", err)
	}
}
