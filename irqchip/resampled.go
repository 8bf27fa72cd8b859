package irqchip

import (
	"sync"

	"doorbell/internal/ledger"

	"golang.org/x/sys/unix"
)

// Resampled is a level-triggered line for a device that only has eventfds, such as one that VFIO passes through: a signal raises the line, and
// it stays up until the guest ends the interrupt. Then the line falls and Resample is signalled, whereupon who owns the device signals again if it
// still wants an interrupt (KVM_IRQFD_FLAG_RESAMPLE, Documentation/virt/kvm/api.rst).
type Resampled struct {
	raise, resample int
	count           *ledger.Line
	remove          func() error
	once            sync.Once
	err             error
}

func newResampled(count *ledger.Line) (*Resampled, error) {
	raise, err := newEventFD()
	if err != nil {
		return nil, err
	}
	resample, err := newEventFD()
	if err != nil {
		unix.Close(raise)
		return nil, err
	}
	return &Resampled{raise: raise, resample: resample, count: count}, nil
}

// FD is the eventfd that raises the line. It stays the line's.
func (r *Resampled) FD() int { return r.raise }

// Resample is the eventfd that is signalled when the guest has ended the interrupt. It stays the line's.
func (r *Resampled) Resample() int { return r.resample }

// Raise raises the line.
func (r *Resampled) Raise() {
	r.count.Raise()
	_, _ = unix.Write(r.raise, one)
}

// Close takes the line off its controller.
func (r *Resampled) Close() error {
	r.once.Do(func() {
		r.err = r.remove()
		for _, fd := range []int{r.raise, r.resample} {
			if err := unix.Close(fd); r.err == nil {
				r.err = err
			}
		}
	})
	return r.err
}
