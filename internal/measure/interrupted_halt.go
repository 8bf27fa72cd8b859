package measure

import (
	"fmt"
	"time"

	"doorbell/internal/kvm"
)

const (
	// pollTime is for how long at most a vCPU polls, in ns: longer than an interrupt is away on any host.
	pollTime = 50_000_000
	// pollsToLearn is how many wake-ups in a row have to come while the vCPU polls before it counts as one that does: KVM lengthens a vCPU's polling
	// step by step (Documentation/virt/kvm/halt-polling.rst).
	pollsToLearn = 3
)

// setPolling has a vCPU that halts poll before it sleeps, or not, whatever the module's parameter halt_poll_ns says.
func (r *interruptedRun) setPolling() error {
	if !r.arm.halts || r.arm.path.userAPIC {
		return nil
	}
	can, err := r.guest.VM.CheckExtension(kvm.CapHaltPoll)
	switch {
	case err != nil:
		return err
	case can == 0 && r.arm.polls:
		return &kvm.NotSupportedError{Feature: "halt polling for one machine", Reason: "KVM_CAP_HALT_POLL needs Linux 5.8 or newer"}
	case can == 0:
		return nil
	}
	polling := uint64(0)
	if r.arm.polls {
		polling = pollTime
	}
	return r.guest.VM.EnableCap(kvm.CapHaltPoll, polling)
}

// polls is how many wake-ups have come while the vCPU polled.
func (r *interruptedRun) polls() (n uint64, known bool, err error) {
	all, err := r.guest.CPU.Stats().Read()
	n, known = all["halt_successful_poll"]
	return n, known, err
}

// learnToPoll interrupts the vCPU until it polls long enough to be woken from that.
func (r *interruptedRun) learnToPoll() error {
	before, known, err := r.polls()
	if err == nil && !known {
		err = &kvm.NotSupportedError{Feature: "a vCPU that polls", Reason: "KVM does not count halt_successful_poll"}
	}
	for start, inARow := time.Now(), 0; err == nil && inARow < pollsToLearn; {
		if time.Since(start) > interruptLimit {
			return fmt.Errorf("the vCPU was not woken while it polled in %v", interruptLimit)
		}
		if err = r.interrupt(r.guest.Ended() + 1); err != nil {
			return err
		}
		var now uint64
		if now, _, err = r.polls(); now > before {
			inARow++
		} else {
			inARow = 0
		}
		before = now
	}
	// These were no part of it.
	r.times.delivery.Reset()
	r.times.sending.Reset()
	return err
}

// awaitPoll waits until the vCPU has halted since the last interrupt was sent: then it polls, for pollTime.
func (r *interruptedRun) awaitPoll() (err error) {
	halted := r.cpus.await(func() bool {
		var all map[string]uint64
		if all, err = r.guest.CPU.Stats().Read(); err != nil || all["halt_exits"] > r.halts {
			r.halts = all["halt_exits"]
			return true
		}
		return false
	}, interruptLimit)
	if err == nil && !halted {
		err = fmt.Errorf("the vCPU did not halt in %v", interruptLimit)
	}
	return err
}

// awaitHalt waits until the vCPU's thread sleeps: KVM says so by its statistic "blocking"; a kernel without it gets a moment.
func (r *interruptedRun) awaitHalt() error {
	if r.arm.polls {
		return r.awaitPoll()
	}
	if r.arm.path.userAPIC {
		if !r.cpus.await(r.guest.CPU.Asleep, interruptLimit) {
			return fmt.Errorf("the vCPU did not halt in %v", interruptLimit)
		}
		return nil
	}
	var err error
	known := true
	halted := r.cpus.await(func() bool {
		var all map[string]uint64
		if all, err = r.guest.CPU.Stats().Read(); err != nil {
			return true
		}
		var blocking uint64
		blocking, known = all["blocking"]
		return !known || blocking != 0
	}, interruptLimit)
	switch {
	case err != nil:
		return err
	case !halted:
		return fmt.Errorf("the vCPU did not halt in %v", interruptLimit)
	case !known:
		r.cpus.linger(time.Millisecond)
	}
	return nil
}
