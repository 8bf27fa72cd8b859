package vcpu

import "fmt"

// Kind is why a vCPU left its loop.
type Kind int

// The kinds of stop. Asked is the only one that somebody outside wanted; the others are the guest's doing or KVM's.
const (
	Asked         Kind = iota // Stop was called
	TripleFault               // KVM_EXIT_SHUTDOWN: the guest faulted while it delivered a double fault
	EntryFailed               // KVM_EXIT_FAIL_ENTRY: the processor refused the guest's state
	Emulation                 // KVM_EXIT_INTERNAL_ERROR: an instruction that KVM cannot emulate
	InternalError             // KVM_EXIT_INTERNAL_ERROR of another kind
	SystemReset               // KVM_EXIT_SYSTEM_EVENT
	SystemOff                 // KVM_EXIT_SYSTEM_EVENT
	SystemCrash               // KVM_EXIT_SYSTEM_EVENT
	Halted                    // KVM_EXIT_HLT: a halt that no in-kernel LAPIC waits out
	Unexpected                // an exit that doorbell did not ask for
	RunFailed                 // KVM_RUN returned an error
)

// Stop says why a vCPU left its loop, and where its guest was.
type Stop struct {
	VCPU   int
	Kind   Kind
	Detail string // what KVM said, and the instruction where there is one; one line
}

func (s Stop) String() string { return fmt.Sprintf("vCPU %d: %s", s.VCPU, s.Detail) }

// Crashed tells a guest that cannot go on from one that was asked to stop.
func (s Stop) Crashed() bool {
	switch s.Kind {
	case Asked, SystemReset, SystemOff:
		return false
	}
	return true
}
