package netdev

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// offers decides how often a transmit queue's goroutine offers its processor to others before it tells the driver that it is done. It learns
// from whether the driver has more to send afterwards: one that sends a frame and waits for the answer never has.
type offers struct {
	vain int // rounds in a row whose offers brought nothing
	skip int // rounds for which none are made
}

const (
	maxOffers = 3  // of a round
	maxVain   = 4  // rounds, before
	skipped   = 16 // rounds go without
)

// begin is how many offers a round may make that has sent something and finds no more.
func (o *offers) begin() int {
	if o.skip > 0 {
		o.skip--
		return 0
	}
	return maxOffers
}

// taken says whether an offer brought more to send, and how many the round has left.
func (o *offers) taken(more bool, left int) {
	switch {
	case more:
		o.vain = 0
	case left > 0:
	default:
		if o.vain++; o.vain >= maxVain {
			o.vain, o.skip = 0, skipped
		}
	}
}

// yield offers the processor to other goroutines and to other threads, such as vCPUs. It returns at once where there are processors for all.
func yield() {
	runtime.Gosched()
	_, _, _ = unix.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
}
