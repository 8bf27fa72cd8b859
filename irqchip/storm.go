package irqchip

import (
	"sync"
	"time"
)

// stormPause is how long a level interrupt waits whose EOI has found its line still active too often in succession (ioapic.StormLimit). Both
// figures are those of KVM's IOAPIC (IOAPIC_SUCCESSIVE_IRQ_MAX_COUNT and HZ/100, arch/x86/kvm/ioapic.c).
const stormPause = 10 * time.Millisecond

// storms lets interrupts wait. There is at most one timer for each pin.
type storms struct {
	redeliver func(pin int)

	mu      sync.Mutex
	timers  [ioapicPins]*time.Timer
	stopped bool
}

// later is ioapic.Config.Later.
func (s *storms) later(pin int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch t := s.timers[pin]; {
	case s.stopped:
	case t == nil:
		s.timers[pin] = time.AfterFunc(stormPause, func() { s.redeliver(pin) })
	default:
		t.Reset(stormPause)
	}
}

// stop ends all waiting.
func (s *storms) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	for _, t := range s.timers {
		if t != nil {
			t.Stop()
		}
	}
}
