package wire

import (
	"context"
	"time"
)

// A Pace spreads packets over time, in bursts of about a millisecond.
type Pace struct {
	perSecond float64
	start     time.Time
}

// NewPace starts now; 0 a second is as fast as can be.
func NewPace(perSecond float64) *Pace { return &Pace{perSecond, time.Now()} }

// burst is how far ahead of its time a packet may be.
const burst = time.Millisecond

// Wait returns when packet n may be sent. It allocates nothing while no time has to pass.
func (p *Pace) Wait(ctx context.Context, n uint32) error {
	if p.perSecond == 0 {
		if n%1024 == 0 {
			return ctx.Err()
		}
		return nil
	}
	due := p.start.Add(time.Duration(float64(n) / p.perSecond * float64(time.Second)))
	ahead := time.Until(due)
	if ahead < burst {
		return nil
	}
	t := time.NewTimer(ahead)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
