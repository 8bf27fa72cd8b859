package irqchip

import (
	"sync"

	"doorbell/internal/kvm"
	"doorbell/internal/ledger"

	"golang.org/x/sys/unix"
)

// kernelPin is a GSI with level-triggered lines to KVM's controllers. KVM ORs what comes from different sources, but to it all of
// KVM_IRQ_LINE is one.
type kernelPin struct {
	mu     sync.Mutex // held over the ioctl, so that levels arrive in their order
	active int        // lines that ask for an interrupt
}

// kernelLevel is one of the lines.
type kernelLevel struct {
	vm    *kvm.VM
	pin   *kernelPin
	gsi   uint32
	count *ledger.Line
	level bool // guarded by pin.mu
}

// NewLevel implements Chip.
func (k *Kernel) NewLevel(gsi uint32, count *ledger.Line) (Level, error) {
	if gsi >= ioapicPins {
		return nil, pinError(gsi)
	}
	l := &kernelLevel{vm: k.vm, pin: &k.levels[gsi], gsi: gsi, count: count}
	k.close = append(k.close, l.Close)
	return l, nil
}

// Set implements Level.
func (l *kernelLevel) Set(level bool) {
	l.pin.mu.Lock()
	defer l.pin.mu.Unlock()
	if l.level == level {
		return
	}
	l.level = level
	was := l.pin.active > 0
	if level {
		l.count.Raise()
		l.pin.active++
	} else {
		l.pin.active--
	}
	if is := l.pin.active > 0; is != was {
		// It fails for GSIs without a route only, and pins always have theirs.
		_ = l.vm.IRQLine(l.gsi, is)
	}
}

// Close implements Level.
func (l *kernelLevel) Close() error {
	l.Set(false)
	return nil
}

// NewResampled implements Chip: KVM lowers the line at the guest's EOI and tells.
func (k *Kernel) NewResampled(gsi uint32, count *ledger.Line) (*Resampled, error) {
	if gsi >= ioapicPins {
		return nil, pinError(gsi)
	}
	if err := k.caps.Require(kvm.CapIRQFDResample); err != nil {
		return nil, err
	}
	r, err := newResampled(count)
	if err != nil {
		return nil, err
	}
	if err := k.vm.ResampledIRQFD(gsi, r.raise, r.resample); err != nil {
		unix.Close(r.raise)
		unix.Close(r.resample)
		return nil, err
	}
	r.remove = func() error { return k.vm.RemoveIRQFD(gsi, r.raise) }
	k.close = append(k.close, r.Close)
	return r, nil
}
