package measure

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"doorbell/internal/traffic"
	"doorbell/internal/traffic/wire"
	"doorbell/virtio/usernet"
	"doorbell/vmm"
)

// guestLoad is what a guest's network card carries: a stream each way for each vCPU, then small requests, one after the other.
type guestLoad struct {
	vcpus       int
	streamBytes uint64 // of each stream
	requests    int
}

// run is the controller's side of it.
func (l guestLoad) run(ctx context.Context, c *traffic.Controller) error {
	g, err := c.Accept(ctx)
	if err != nil {
		return err
	}
	cpus := make([]int, l.vcpus)
	for i := range cpus {
		cpus[i] = i
	}
	o := traffic.StreamOptions{Placement: traffic.Placement{Flows: l.vcpus, CPUs: cpus}, BytesPerFlow: l.streamBytes, Check: wire.CheckSHA256}
	if _, err := g.StreamUp(ctx, o); err != nil {
		return err
	}
	if _, err := g.StreamDown(ctx, o); err != nil {
		return err
	}
	if _, err := g.RoundTrips(ctx, traffic.RoundTripOptions{Count: l.requests}); err != nil {
		return err
	}
	return g.End(ctx)
}

const (
	// calmTime is longer than a guest has to do with what it was told last: an acknowledgement that Linux puts off comes 40 ms later, NAPI's last look after 50.
	calmTime = 100 * time.Millisecond
	// quietTime is how long a guest is watched that has nothing to do.
	quietTime = 200 * time.Millisecond
)

// ownExits is how many exits a second a guest has by itself when it is left alone: the control of a load. It is 0 where the host does not count them.
func ownExits(ctx context.Context, m *vmm.Machine) (perSecond float64, err error) {
	if err := pause(ctx, calmTime); err != nil {
		return 0, err
	}
	start := time.Now()
	before, known := m.Exits()
	if err := pause(ctx, quietTime); err != nil {
		return 0, err
	}
	after, still := m.Exits()
	if !known || !still {
		return 0, nil
	}
	return float64(after-before) / time.Since(start).Seconds(), nil
}

// pause waits, or returns ctx's cause.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// listenFor opens a load's controller, and has the guest of cfg, behind user-mode networking, call it.
func listenFor(cfg *vmm.Config) (*traffic.Controller, error) {
	c, err := traffic.Listen("127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	cfg.Cmdline += fmt.Sprintf(" doorbell.workload=traffic=%v:%d", usernet.Gateway(), c.Addr().Port())
	return c, nil
}

// runLoaded runs a guest under a load from this process, nil for none. res is nil if there was no guest; an error beside a result is the load's, or
// says that the guest did not end by itself.
func runLoaded(ctx context.Context, cfg vmm.Config, load func(context.Context) error) (res *vmm.Result, err error) {
	if load == nil {
		return runWatched(ctx, cfg, guestLimit, nil)
	}
	return runWatched(ctx, cfg, guestLimit, func(ctx context.Context, _ *vmm.Machine) error { return load(ctx) })
}

// guestLimit is how long a guest may take: one that hangs loses its arm, and not the experiment. The longest takes a minute, on an emulated host.
const guestLimit = 10 * time.Minute

// limitOfAll is the limit of a guest in which all rounds run: a user may ask for many.
func (r rounds) limitOfAll() time.Duration { return guestLimit * time.Duration(1+r.n/10) }

// ownEnd is how a guest with that command line ends by itself: a power-off, for which Linux needs ACPI; without it the agent resets the machine.
func ownEnd(cmdline string) vmm.End {
	if slices.Contains(strings.Fields(cmdline), "acpi=off") {
		return vmm.Reset
	}
	return vmm.PoweredOff
}

// runWatched is runLoaded for a load that looks at its machine meanwhile.
func runWatched(ctx context.Context, cfg vmm.Config, limit time.Duration, load func(context.Context, *vmm.Machine) error) (res *vmm.Result, err error) {
	ctx, release := context.WithTimeoutCause(ctx, limit, fmt.Errorf("the guest has not ended after %v", limit))
	defer release()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	m, err := vmm.New(cfg)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	failed := make(chan error, 1)
	if load == nil {
		failed <- nil
	} else {
		go func() {
			err := load(ctx, m)
			if err != nil {
				cancel(fmt.Errorf("a load that failed: %w", err))
			}
			failed <- err
		}()
	}
	if res, err = m.Run(ctx); err != nil {
		return nil, err
	}
	cancel(errors.New("the guest has ended"))
	if err := <-failed; err != nil {
		return res, fmt.Errorf("the load: %w", err)
	}
	if res.End != ownEnd(cfg.Cmdline) {
		return res, fmt.Errorf("the guest ended: %s", res.Reason)
	}
	return res, nil
}
